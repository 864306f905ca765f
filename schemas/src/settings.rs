//! Configuration as every service takes it: a TOML file, then `a.b=c` overrides of any leaf.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Why a configuration cannot be used. Each is a usage mistake.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key or a value of the wrong type.
    #[error("{origin}: {detail}")]
    Invalid {
        /// The file, or where else it came from.
        origin: String,
        /// What and where, as the parser says it.
        detail: String,
    },
    /// An override that is not `key=value`.
    #[error("--set {0}: write it as key=value, e.g. optimizer.lr=3e-4")]
    Override(String),
}

/// Reads `file` (or starts from nothing), applies `overrides` in order, and gives the whole as `T`. Unknown keys are
/// refused by `T`'s own `deny_unknown_fields`, defaults are `T`'s own too.
///
/// # Errors
/// Names the file, and the line or the override.
pub fn resolve<T: DeserializeOwned>(
    file: Option<&Path>,
    overrides: &[String],
) -> Result<T, SettingsError> {
    let Some(path) = file else {
        return finish(Table::new(), "configuration", overrides);
    };
    let (text, origin) = read(path)?;
    if overrides.is_empty() {
        // Straight from the text: the message then shows the line.
        return toml::from_str(&text).map_err(|error| invalid(&origin, &error));
    }
    let table = text.parse().map_err(|error| invalid(&origin, &error))?;
    finish(table, &origin, overrides)
}

/// As [`resolve`], once for every table of the array `list` in `file`, each over what stands outside of it: several jobs
/// that share most settings. Without such an array it is one.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_each<T: DeserializeOwned>(
    file: &Path,
    list: &str,
    overrides: &[String],
) -> Result<Vec<T>, SettingsError> {
    let (text, origin) = read(file)?;
    let mut shared: Table = text.parse().map_err(|error| invalid(&origin, &error))?;
    let Some(jobs) = shared.remove(list) else {
        return Ok(vec![resolve(Some(file), overrides)?]);
    };
    let jobs: Vec<Table> = jobs.try_into().map_err(|error| invalid(&origin, &error))?;
    let own = |job| {
        let mut table = shared.clone();
        merge(&mut table, job);
        finish(table, &origin, overrides)
    };
    jobs.into_iter().map(own).collect()
}

fn read(path: &Path) -> Result<(String, String), SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok((text, path.display().to_string()))
}

fn invalid(origin: &str, error: &toml::de::Error) -> SettingsError {
    SettingsError::Invalid {
        origin: origin.to_owned(),
        detail: error.to_string().trim_end().to_owned(),
    }
}

fn finish<T: DeserializeOwned>(
    mut table: Table,
    origin: &str,
    overrides: &[String],
) -> Result<T, SettingsError> {
    for text in overrides {
        set(&mut table, text)?;
    }
    table.try_into().map_err(|error| SettingsError::Invalid {
        origin: origin.to_owned(),
        detail: error.to_string().trim_end().replace('\n', " "),
    })
}

/// Leaves of `over` win; tables that both have become one.
fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => merge(inner, over),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

fn set(table: &mut Table, text: &str) -> Result<(), SettingsError> {
    let mistake = || SettingsError::Override(text.to_owned());
    let (path, value) = text.split_once('=').ok_or_else(mistake)?;
    let mut keys: Vec<&str> = path.trim().split('.').collect();
    let leaf = keys
        .pop()
        .filter(|leaf| !leaf.is_empty())
        .ok_or_else(mistake)?;
    let mut inner = table;
    for key in keys {
        inner = inner
            .entry(key)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(mistake)?;
    }
    inner.insert(leaf.to_owned(), value_of(value.trim()));
    Ok(())
}

/// A value as TOML reads it; what TOML cannot read is taken as text, so that paths need no quotes.
fn value_of(text: &str) -> Value {
    match format!("value = {text}").parse::<Table>() {
        Ok(mut table) => table
            .remove("value")
            .unwrap_or_else(|| Value::String(text.to_owned())),
        Err(_) => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Optimizer {
        lr: f64,
        name: String,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        steps: u32,
        optimizer: Optimizer,
    }

    fn of(overrides: &[&str]) -> Result<Config, SettingsError> {
        resolve(
            None,
            &overrides.iter().map(|&o| o.to_owned()).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn any_leaf_can_be_set_and_text_needs_no_quotes() {
        let config =
            of(&["optimizer.lr=3e-4", "steps=7", "optimizer.name=some/path"]).expect("all known");
        assert_eq!(
            config,
            Config {
                steps: 7,
                optimizer: Optimizer {
                    lr: 3e-4,
                    name: "some/path".into()
                }
            }
        );
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = of(&["optimizer.momentum=1"])
            .expect_err("no such key")
            .to_string();
        assert!(error.contains("momentum"), "{error}");
    }

    #[test]
    fn every_job_of_a_list_stands_over_what_is_shared() {
        let file = std::env::temp_dir().join(format!("settings-{}.toml", std::process::id()));
        let text = "steps = 1\n[optimizer]\nlr = 0.5\n[[jobs]]\nsteps = 2\n[[jobs]]\noptimizer.name = 'b'\n";
        std::fs::write(&file, text).expect("writable");
        let jobs = resolve_each::<Config>(&file, "jobs", &["optimizer.lr=0.1".to_owned()]);
        std::fs::remove_file(&file).expect("just written");
        let config = |steps, name: &str| Config {
            steps,
            optimizer: Optimizer {
                lr: 0.1,
                name: name.into(),
            },
        };
        assert_eq!(jobs.expect("two"), [config(2, ""), config(1, "b")]);
    }

    #[test]
    fn an_override_without_a_value_is_a_usage_mistake() {
        assert!(matches!(of(&["steps"]), Err(SettingsError::Override(_))));
        assert!(matches!(of(&["=1"]), Err(SettingsError::Override(_))));
    }
}
