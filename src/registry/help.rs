//! Help texts, the README's table and the console's grammar of a command, rendered from its definition.

use super::console::{ConsoleSpec, Kind, Parameter};
use super::schema::{description, input_schema};
use super::{Effect, Tool};
use crate::principal::Role;
use serde_json::Value;

/// One command in full, as `help <command>` shows it.
pub fn command_help(tool: &dyn Tool) -> String {
    let spec = tool.spec();
    let schema = input_schema(tool);
    let mut out = format!("{}: {}\n\nusage: {}\n", spec.name, description(tool), usage(tool));
    let properties = schema.get("properties").and_then(Value::as_object);
    if let Some(properties) = properties.filter(|p| !p.is_empty()) {
        out.push_str("\narguments:\n");
        for (name, property) in properties {
            let text = property.get("description").and_then(Value::as_str).unwrap_or_default();
            out.push_str(&format!("  -{name:<18} {}{}\n", text.replace('\n', " "), values(property, text)));
        }
    }
    if !spec.aliases.is_empty() {
        out.push_str(&format!("\naliases: {}\n", spec.aliases.join(", ")));
    }
    if let Some(fields) = tool.row_fields() {
        out.push_str(&format!("\nfields: {}\n", fields.join(", ")));
    }
    if !spec.examples.is_empty() {
        out.push_str("\nexamples:\n");
        spec.examples.iter().for_each(|(line, _)| out.push_str(&format!("  {line}\n")));
    }
    out.push_str(&format!("\n{}\n", asks(spec.effect)));
    out
}

/// The words that an argument takes, where it takes no others and its text does not name them all.
fn values(property: &Value, text: &str) -> String {
    let listed = property.get("enum").or_else(|| property.pointer("/items/enum")).and_then(Value::as_array);
    let words: Vec<&str> = listed.into_iter().flatten().filter_map(Value::as_str).collect();
    match words.iter().all(|word| text.contains(word)) {
        true => String::new(),
        false => format!(" ({})", words.join(", ")),
    }
}

fn usage(tool: &dyn Tool) -> String {
    let spec = tool.spec();
    let schema = input_schema(tool);
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|r| r.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let words = spec
        .positional
        .iter()
        .map(|name| if required.contains(name) { format!(" <{name}>") } else { format!(" [{name}]") });
    spec.name.to_owned() + &words.collect::<String>() + " [-name value …] [> file] [&]"
}

fn asks(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "Reads only.",
        Effect::Session => "Touches this program's sessions and jobs only.",
        Effect::Disclosure => "Reads; content on the secret list is shown only after a person's yes.",
        Effect::Reversible | Effect::Destructive => "Changes the device: runs only after a person's yes.",
    }
}

/// The README's table of commands, Markdown.
pub fn command_table(tools: &[&dyn Tool]) -> String {
    let mut out = String::from("| command | role | effect | what it does |\n|---|---|---|---|\n");
    for tool in tools {
        let spec = tool.spec();
        let role = match spec.role {
            Role::Basic => "basic",
            Role::Advanced => "advanced",
        };
        let effect = match spec.effect {
            Effect::Read => "reads",
            Effect::Session => "session",
            Effect::Disclosure => "reads; asks for secrets",
            Effect::Reversible | Effect::Destructive => "asks a person",
        };
        out.push_str(&format!(
            "| `{}` | {role} | {effect} | {} |\n",
            spec.name,
            description(*tool).replace('|', "\\|")
        ));
    }
    out
}

/// What the console's parser needs of a tool.
pub fn console_spec(tool: &dyn Tool) -> ConsoleSpec {
    let spec = tool.spec();
    let schema = input_schema(tool);
    let parameters = schema
        .get("properties")
        .and_then(Value::as_object)
        .map(|p| p.iter().map(|(name, property)| Parameter { name: name.clone(), kind: kind(property) }).collect())
        .unwrap_or_default();
    ConsoleSpec { name: spec.name, positional: spec.positional, parameters, flags: spec.flags }
}

fn kind(property: &Value) -> Kind {
    match property.get("type").and_then(Value::as_str) {
        Some("integer") => Kind::Integer,
        Some("boolean") => Kind::Boolean,
        Some("array") => Kind::TextList,
        _ => Kind::Text,
    }
}
