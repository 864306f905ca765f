//! What a predicate may be: so short that no recursion over it ends a stack, and of functions that make nothing large.
//!
//! Predicates come from people at a browser and from other machines, and an answer to them must cost about as much as reading
//! the columns does. `array_length(range(0, 1000000000))` takes 8 GB, already when constants are folded; a thousand `OR`s end
//! the 2 MiB stack of a thread.

use std::ops::ControlFlow;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{Query, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// Letters of a predicate.
const MOST_LETTERS: usize = 4_000;
/// Names, keywords, operators and brackets: each can nest what is planned by one more. Fifteen times as many ended a
/// stack of 2 MiB.
const MOST_NESTING: usize = 200;

/// Functions whose answers are not larger than what they are asked about, that take no list times another (`array_has_all`
/// does), and that need no optimiser (`coalesce` does). Under the names that plans have: `length` is `character_length` there,
/// `EXTRACT` is `date_part`.
const FUNCTIONS: &[&str] = &[
    "array_element",
    "array_has",
    "array_length",
    "array_max",
    "array_min",
    "array_position",
    "ascii",
    "btrim",
    "cardinality",
    "character_length",
    "concat",
    "contains",
    "date_part",
    "date_trunc",
    "empty",
    "ends_with",
    "get_field",
    "greatest",
    "least",
    "left",
    "lower",
    "ltrim",
    "make_array",
    "nullif",
    "octet_length",
    "regexp_like",
    "reverse",
    "right",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "upper",
    // Of builds of DataFusion with mathematics.
    "abs",
    "ceil",
    "floor",
    "round",
    "trunc",
];

/// Plans a predicate that is one that may be; nothing of it is computed before that is known.
pub(super) fn planned(
    sql: &str,
    context: &SessionContext,
    schema: &datafusion::common::DFSchema,
) -> Result<Expr, String> {
    let failed = |error: DataFusionError| error.strip_backtrace();
    check_length(sql)?;
    let state = context.state();
    let dialect = state.config().options().sql_parser.dialect;
    let parsed = state
        .sql_to_expr_with_alias(sql, &dialect)
        .map_err(failed)?;
    // Planning a query folds the arguments of what it selects from.
    if parsed.expr.visit(&mut NoQuery).is_break() {
        return Err("it holds a query: a predicate asks about one document".into());
    }
    let planned = state
        .create_logical_expr_from_sql_expr(parsed, schema)
        .map_err(failed)?;
    let mut refusal = None;
    let walked = planned.apply(|part| {
        refusal = check(part).err();
        Ok(match refusal {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    });
    walked.map_err(failed)?;
    match refusal {
        Some(refusal) => Err(refusal),
        None => Ok(planned),
    }
}

/// Counts, and recurs nowhere.
fn check_length(sql: &str) -> Result<(), String> {
    let letters = sql.chars().count();
    if letters > MOST_LETTERS {
        return Err(format!(
            "it has {letters} letters, and {MOST_LETTERS} are allowed"
        ));
    }
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize();
    let tokens = tokens.map_err(|error| error.to_string())?;
    let nests = |token: &&Token| {
        !matches!(
            token,
            Token::Whitespace(_) | Token::Comma | Token::Number(..) | Token::SingleQuotedString(_)
        )
    };
    let nesting = tokens.iter().filter(nests).count();
    if nesting > MOST_NESTING {
        return Err(format!(
            "it has {nesting} names, operators and brackets, and {MOST_NESTING} are allowed: `id IN ('a', 'b')` needs fewer than ORs do"
        ));
    }
    Ok(())
}

struct NoQuery;

impl Visitor for NoQuery {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

/// One part by itself.
fn check(part: &Expr) -> Result<(), String> {
    let is_literal = |part: Option<&Expr>| matches!(part, Some(Expr::Literal(..)));
    // Patterns that differ from row to row are compiled for every row.
    let pattern = Err("a regular expression has to be a text between single quotes".to_owned());
    match part {
        Expr::ScalarFunction(call) => {
            let name = call.func.name();
            // Which is refused for another reason.
            let answers_anew = part.is_volatile_node();
            if !answers_anew && !FUNCTIONS.contains(&name) {
                return Err(unknown(name));
            }
            if name == "regexp_like" && !is_literal(call.args.get(1)) {
                return pattern;
            }
            Ok(())
        }
        Expr::BinaryExpr(binary) => match binary.op {
            Operator::RegexMatch
            | Operator::RegexIMatch
            | Operator::RegexNotMatch
            | Operator::RegexNotIMatch
                if !is_literal(Some(&binary.right)) =>
            {
                pattern
            }
            _ => Ok(()),
        },
        Expr::SimilarTo(like) if !is_literal(Some(&like.pattern)) => pattern,
        // NULL as a list of a fixed length has that many places.
        Expr::Cast(cast) if cast.field.data_type().is_nested() => Err(nested()),
        Expr::TryCast(cast) if cast.field.data_type().is_nested() => Err(nested()),
        Expr::AggregateFunction(call) => Err(unknown(call.func.name())),
        Expr::WindowFunction(call) => Err(unknown(&call.fun.to_string())),
        Expr::HigherOrderFunction(call) => Err(unknown(call.func.name())),
        Expr::Lambda(_) | Expr::LambdaVariable(_) => Err(unknown("->")),
        Expr::Unnest(_) => Err(unknown("unnest")),
        Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::SetComparison(_)
        | Expr::ScalarSubquery(_) => {
            Err("it holds a query: a predicate asks about one document".into())
        }
        _ => Ok(()),
    }
}

fn nested() -> String {
    "nothing can be cast to a list or a struct here".into()
}

fn unknown(name: &str) -> String {
    format!(
        "`{name}` is no function of a predicate; these are: {}",
        FUNCTIONS.join(", ")
    )
}
