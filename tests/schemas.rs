//! The generated files are fresh, and every tool of the registry is fit to be offered.

use live_response::cli::schema::{documents, with_table};
use live_response::commands;
use live_response::registry::console::parse;
use live_response::registry::{Tool, console_spec, input_schema, output_schema, split};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

const REFRESH: &str = "run: cargo run --locked -- schema --write schemas";

#[test]
fn generated_files_are_fresh() {
    let mut expected = BTreeSet::new();
    for (path, text) in documents().unwrap() {
        let file = root().join("schemas").join(&path);
        let found = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}; {REFRESH}", file.display()));
        assert!(found == text, "{} is stale; {REFRESH}", file.display());
        expected.insert(path);
    }
    for entry in std::fs::read_dir(root().join("schemas/tools")).unwrap().flatten() {
        let path = Path::new("tools").join(entry.file_name());
        assert!(expected.contains(&path), "schemas/{} belongs to no tool", path.display());
    }
}

#[test]
fn the_readme_s_table_is_fresh() {
    let Ok(readme) = std::fs::read_to_string(root().join("README.md")) else { return };
    let Some(fresh) = with_table(&readme) else { return };
    assert!(fresh == readme, "the README's table of commands is stale; {REFRESH}");
}

#[test]
fn every_tool_says_what_it_is() {
    let mut names = BTreeSet::new();
    for tool in commands::ALL {
        let spec = tool.spec();
        assert!(names.insert(spec.name), "{} stands twice", spec.name);
        assert!(spec.name.bytes().all(|b| b.is_ascii_lowercase()), "{}", spec.name);
        assert!(!spec.title.is_empty(), "{} has no title", spec.name);
        assert!(!spec.examples.is_empty(), "{} has no example", spec.name);
        let text = tool.args_schema().get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
        assert!((20..200).contains(&text.chars().count()), "{}: a description of {} characters", spec.name, text.len());
        let known = tool.row_fields();
        let unknown = spec.columns.iter().find(|c| known.is_some_and(|fields| !fields.contains(c)));
        assert_eq!(unknown, None, "{}: a column that its rows do not have", spec.name);
        assert!(spec.effect.changes() <= spec.effect.asks(), "{}: changes without asking", spec.name);
    }
    assert_eq!(names.len(), 34, "thirty commands and four helpers");
}

/// Which argument, what it is to be and what came.
#[test]
fn a_value_of_a_wrong_type_is_told_with_its_argument() {
    for tool in commands::ALL {
        let name = tool.spec().name;
        let schema = input_schema(*tool);
        let properties = schema.get("properties").and_then(Value::as_object).unwrap();
        for (argument, property) in properties {
            let wrong = match property.get("type").and_then(Value::as_str) {
                Some("boolean" | "integer") => r#""word""#,
                _ => r#"{"an":"object"}"#,
            };
            let args = format!(r#"{{"{argument}":{wrong}}}"#);
            let error = split(*tool, &args).and_then(|(_, own)| tool.check(&own)).expect_err(&args);
            let message = &error.message;
            let came = message.contains("object") || message.contains("word");
            assert!(message.contains(&format!("argument {argument:?}: ")), "{name} {args}: {message}");
            assert!(
                came && (message.contains(" is not ") || message.contains(" is none of")),
                "{name} {args}: {message}"
            );
        }
    }
}

/// Input: closed, described, self-contained, one type each.
#[test]
fn input_schemas_are_plain() {
    for tool in commands::ALL {
        let name = tool.spec().name;
        let schema = input_schema(*tool);
        assert_eq!(schema["additionalProperties"], false, "{name}");
        let properties = schema["properties"].as_object().unwrap();
        for (key, property) in properties {
            let text = property["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{name}.{key} has no description");
        }
        for positional in tool.spec().positional {
            assert!(properties.contains_key(*positional), "{name}: {positional} is no parameter");
        }
        walk(&Value::Object(schema), &mut |node| {
            assert!(node.get("$defs").is_none() && node.get("$ref").is_none(), "{name}: {node}");
            assert!(!node.get("type").is_some_and(Value::is_array), "{name}: a type array in {node}");
        });
    }
}

#[test]
fn output_schemas_spell_state_and_data() {
    for tool in commands::ALL {
        let name = tool.spec().name;
        let schema = output_schema(*tool);
        assert!(schema["properties"]["state"]["enum"].as_array().is_some_and(|s| s.len() == 8), "{name}");
        let data = &schema["properties"]["data"];
        assert!(data["type"].as_array().is_some_and(|t| t.iter().any(|t| t == "null")), "{name}: data may be null");
        assert!(!schema.contains_key("additionalProperties"), "{name}: the rest is open");
        if tool.row_fields().is_some() {
            assert!(data["properties"]["rows"]["items"].get("required").is_none(), "{name}: rows have no required");
        }
        walk(&Value::Object(schema), &mut |node| assert!(node.get("$ref").is_none(), "{name}: {node}"));
    }
}

#[test]
fn examples_mean_the_same_in_the_console_and_in_json() {
    let lookup = |name: &str| {
        let called = |t: &&&dyn Tool| t.spec().name == name || t.spec().aliases.contains(&name);
        commands::ALL.iter().find(called).map(|t| console_spec(*t))
    };
    for tool in commands::ALL {
        for (line, json) in tool.spec().examples {
            let parsed = parse(line, &lookup, &[]).unwrap_or_else(|e| panic!("{line}: {e}"));
            assert_eq!(parsed.command, tool.spec().name, "{line}");
            let as_value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            assert_eq!(as_value(&parsed.args), as_value(json), "{line}");
            let (_, own) = split(*tool, json).unwrap_or_else(|e| panic!("{line}: {e}"));
            tool.check(&own).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }
}

fn walk(node: &Value, look: &mut impl FnMut(&Value)) {
    match node {
        Value::Object(members) => {
            look(node);
            members.values().for_each(|v| walk(v, look));
        }
        Value::Array(items) => items.iter().for_each(|v| walk(v, look)),
        _ => {}
    }
}
