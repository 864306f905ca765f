//! Statements typed one after the other, each answered at once.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::ValueEnum;
use lcl_shard::inspect::sql::{self, FUNCTIONS, Format, SqlError, Tables};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{CompletionType, Config, Editor};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::complete::Names;

const HELP: &str = "\
Statements end with `;` and may take several lines. Tab completes, the arrows and Ctrl-R find earlier ones, Ctrl-C stops a query.
  \\d           tables and their columns      \\d TABLE   its columns with their types
  \\f FORMAT    table, json or csv            \\q         leaves, as Ctrl-D does
Functions of ours, besides DataFusion's:
";

/// What is done with a line.
#[derive(Debug, PartialEq, Eq)]
enum Said<'a> {
    Nothing,
    Leave,
    Help,
    Tables,
    Columns(&'a str),
    Format(&'a str),
    Unknown(&'a str),
    Sql(&'a str),
}

impl<'a> Said<'a> {
    fn of(line: &'a str) -> Self {
        let line = line.trim();
        let word = line.trim_end_matches(';').trim_end();
        let (command, rest) = word.split_once(char::is_whitespace).unwrap_or((word, ""));
        match (command, rest.trim()) {
            ("", _) => Self::Nothing,
            ("\\q", _) | ("exit" | "quit", "") => Self::Leave,
            ("\\?" | "\\h", _) | ("help", "") => Self::Help,
            ("\\d", "") => Self::Tables,
            ("\\d", table) => Self::Columns(table),
            ("\\f", format) => Self::Format(format),
            (command, _) if command.starts_with('\\') => Self::Unknown(command),
            _ => Self::Sql(line),
        }
    }
}

/// A conversation on a terminal.
pub(super) struct Shell<'a> {
    runtime: &'a Runtime,
    tables: &'a Tables,
    format: Format,
    editor: Editor<Names, DefaultHistory>,
    history: Option<PathBuf>,
    stop: Arc<Notify>,
}

impl<'a> Shell<'a> {
    /// # Errors
    /// The terminal, or the signal of Ctrl-C, is not to be had.
    pub(super) fn new(
        runtime: &'a Runtime,
        tables: &'a Tables,
        format: Format,
    ) -> anyhow::Result<Self> {
        let config = Config::builder()
            .history_ignore_space(true)
            .max_history_size(10_000)?
            .completion_type(CompletionType::List)
            .auto_add_history(true)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(runtime.block_on(Names::of(tables))));
        let history = history_file();
        if let Some(path) = &history {
            // The first time there is none.
            let _ = editor.load_history(path);
        }
        let stop = Arc::new(Notify::new());
        let signal = stop.clone();
        // Waits for who runs a query; between queries the editor has Ctrl-C.
        ctrlc::set_handler(move || signal.notify_waiters())?;
        Ok(Self {
            runtime,
            tables,
            format,
            editor,
            history,
            stop,
        })
    }

    /// Until the person leaves.
    ///
    /// # Errors
    /// The terminal goes away.
    pub(super) fn run(mut self, out: &mut impl Write) -> anyhow::Result<()> {
        eprintln!("\\? helps, \\d shows the tables, \\q leaves");
        loop {
            let line = match self.editor.readline("sql> ") {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(error.into()),
            };
            if let Some(path) = &self.history {
                // A history that cannot be kept is no reason to stop.
                let _ = self.editor.append_history(path);
            }
            match Said::of(&line) {
                Said::Nothing => {}
                Said::Leave => break,
                Said::Help => {
                    write!(out, "{HELP}")?;
                    for (function, does) in FUNCTIONS {
                        writeln!(out, "  {function:<21} {does}")?;
                    }
                }
                Said::Tables => self.show_tables(out)?,
                Said::Columns(table) => self.ask(&format!("DESCRIBE {table}"), out)?,
                Said::Format(format) => self.change_format(format),
                Said::Unknown(command) => {
                    eprintln!("error: `{command}` is no command; \\? shows them")
                }
                Said::Sql(text) => self.ask(text, out)?,
            }
            out.flush()?;
        }
        Ok(())
    }

    fn show_tables(&self, out: &mut impl Write) -> std::io::Result<()> {
        let names = self.editor.helper().map(Names::tables);
        for (table, columns) in names.unwrap_or_default() {
            writeln!(out, "{table}: {}", columns.join(", "))?;
        }
        Ok(())
    }

    fn change_format(&mut self, format: &str) {
        match Format::from_str(format, true) {
            Ok(format) if !format.is_binary() => self.format = format,
            _ => eprintln!("error: a format of the shell is table, json or csv"),
        }
    }

    /// Answers statements; what goes wrong with one is said, and the rest of the line is left.
    fn ask(&self, text: &str, out: &mut impl Write) -> anyhow::Result<()> {
        let statements = match sql::statements(text) {
            Ok(statements) => statements,
            Err(error) => {
                eprintln!("error: {error}");
                return Ok(());
            }
        };
        for statement in statements {
            let (before, begun) = (self.tables.read(), Instant::now());
            let answered = self.runtime.block_on(async {
                tokio::select! {
                    answered = self.tables.answer(statement, self.format, out) => Some(answered),
                    () = self.stop.notified() => None,
                }
            });
            match answered {
                Some(Ok(rows)) => {
                    let bytes = self.tables.read().bytes - before.bytes;
                    let seconds = begun.elapsed().as_secs_f64();
                    eprintln!("{rows} rows in {seconds:.2} s, {} read", size(bytes));
                }
                Some(Err(SqlError::Output(error))) => return Err(error.into()),
                Some(Err(error)) => {
                    eprintln!("error: {error}");
                    break;
                }
                None => {
                    eprintln!("stopped");
                    break;
                }
            }
        }
        Ok(())
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// In the user's state folder (XDG base directories); none where there is no home.
fn history_file() -> Option<PathBuf> {
    let absolute = |name| {
        let path = std::env::var_os(name).map(PathBuf::from)?;
        path.is_absolute().then_some(path)
    };
    let state =
        absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    let folder = state.join("lcl");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("sql_history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_shells_own_are_told_from_sql() {
        assert_eq!(Said::of("  "), Said::Nothing);
        assert_eq!(Said::of("quit;"), Said::Leave);
        assert_eq!(Said::of("\\d images"), Said::Columns("images"));
        assert_eq!(Said::of("\\f csv;"), Said::Format("csv"));
        assert_eq!(Said::of("\\x"), Said::Unknown("\\x"));
        assert_eq!(Said::of("select 1; "), Said::Sql("select 1;"));
    }
}
