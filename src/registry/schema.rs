//! JSON Schemas and the OpenRPC document, derived from the commands' types.
//!
//! Input: `additionalProperties: false`, a description for every property, no `$defs`, no type arrays. Output: `state`
//! and `data` are spelled, the rest is open, `data` may be null, rows have no `required`.

use super::args::shared;
use super::sweep::DEVICE;
use super::{Spec, Tool};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// A type's schema, self-contained.
pub(super) fn of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|s| {
        s.inline_subschemas = true;
        s.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
        tidy(object);
    }
    schema
}

/// Takes away what says nothing to a client: formats, bounds of the machine type, `null` beside a type.
fn tidy(schema: &mut Map<String, Value>) {
    for noise in ["format", "minimum", "maximum", "default", "title"] {
        schema.remove(noise);
    }
    if let Some(Value::Array(types)) = schema.get("type") {
        let first = types.iter().find(|t| **t != "null").cloned();
        schema.insert("type".into(), first.unwrap_or(Value::Null));
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|v| !v.is_null());
    }
    // An optional struct is `anyOf: [it, null]`.
    if let Some(Value::Array(options)) = schema.get_mut("anyOf") {
        options.retain(|o| o.get("type").is_none_or(|t| t != "null"));
        if let [Value::Object(only)] = options.as_mut_slice() {
            let only = std::mem::take(only);
            schema.remove("anyOf");
            for (key, value) in only {
                schema.entry(key).or_insert(value);
            }
        }
    }
    // A field-less enum with documented variants is `oneOf` of constants.
    if let Some(Value::Array(options)) = schema.get("oneOf")
        && let Some(values) = options.iter().map(|o| o.get("const").cloned()).collect::<Option<Vec<_>>>()
    {
        schema.remove("oneOf");
        schema.insert("type".into(), "string".into());
        schema.insert("enum".into(), values.into());
    }
    for key in ["properties"] {
        if let Some(Value::Object(children)) = schema.get_mut(key) {
            children.values_mut().filter_map(Value::as_object_mut).for_each(tidy);
        }
    }
    if let Some(Value::Object(items)) = schema.get_mut("items") {
        tidy(items);
    }
    if let Some(Value::Array(options)) = schema.get_mut("anyOf") {
        options.iter_mut().filter_map(Value::as_object_mut).for_each(tidy);
    }
}

/// A listing's `data`: `rows`, and the fields of `extra` beside them.
pub(super) fn listing(row: Schema, extra: Schema) -> Schema {
    let mut properties = extra.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    properties.insert("rows".into(), json!({ "type": "array", "items": row }));
    let mut schema = Schema::default();
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), properties.into());
    schema
}

/// The properties of two objects in one.
pub(super) fn both(mut one: Schema, other: Schema) -> Schema {
    let more = other.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    if let Some(Value::Object(properties)) = one.get_mut("properties") {
        properties.extend(more);
    }
    one
}

/// The tool's description: the doc comment of its arguments' type.
pub fn description(tool: &dyn Tool) -> String {
    let schema = tool.args_schema();
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a client may send.
pub fn input_schema(tool: &dyn Tool) -> Map<String, Value> {
    let own = tool.args_schema();
    let mut properties = own.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, kind, text) in shared(tool) {
        let property = match kind {
            "array" => json!({ "type": kind, "description": text, "items": { "type": "string" } }),
            _ => json!({ "type": kind, "description": text }),
        };
        properties.insert(name.into(), property);
    }
    let mut schema = Map::new();
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), properties.into());
    if let Some(required) = own.get("required") {
        schema.insert("required".into(), required.clone());
    }
    schema.insert("additionalProperties".into(), false.into());
    schema
}

/// What every kind of answer fits.
pub fn output_schema(tool: &dyn Tool) -> Map<String, Value> {
    let mut data = tool.data_schema().as_object().cloned().unwrap_or_default();
    data.remove("description");
    drop_required(&mut data);
    if tool.spec().sweeps() {
        spell_sweep(&mut data);
    }
    data.insert("type".into(), json!(["object", "null"]));
    let schema = json!({
        "type": "object",
        "properties": {
            "state": {
                "type": "string",
                "enum": [
                    "completed", "running", "pending_approval", "refused", "failed", "cancelled", "expired", "unknown"
                ],
            },
            "data": data,
        },
        "required": ["state"],
    });
    match schema {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// What stands in `data` where many devices were asked.
fn spell_sweep(data: &mut Map<String, Value>) {
    let Some(properties) = data.get_mut("properties").and_then(Value::as_object_mut) else { return };
    // One object a device is one row a device, with the object's members.
    let of_object = properties.clone();
    let rows = properties
        .entry("rows")
        .or_insert_with(|| json!({ "type": "array", "items": { "type": "object", "properties": of_object } }));
    if let Some(row) = rows.pointer_mut("/items/properties").and_then(Value::as_object_mut) {
        row.insert(DEVICE.into(), json!({ "type": "string" }));
    }
    for count in ["devices_asked", "devices_answered"] {
        properties.insert(count.into(), json!({ "type": "integer" }));
    }
}

/// A schema without the words: for lists, where every byte is a client's.
pub fn wordless(mut schema: Map<String, Value>) -> Map<String, Value> {
    fn strip(schema: &mut Map<String, Value>) {
        schema.remove("description");
        for key in ["properties", "items"] {
            match schema.get_mut(key) {
                Some(Value::Object(children)) if key == "properties" => {
                    children.values_mut().filter_map(Value::as_object_mut).for_each(strip);
                }
                Some(Value::Object(items)) => strip(items),
                _ => {}
            }
        }
    }
    strip(&mut schema);
    schema
}

/// Projection and empty fields leave anything out, so nothing in an answer is required.
fn drop_required(schema: &mut Map<String, Value>) {
    schema.remove("required");
    schema.remove("additionalProperties");
    if let Some(Value::Object(children)) = schema.get_mut("properties") {
        children.values_mut().filter_map(Value::as_object_mut).for_each(drop_required);
    }
    if let Some(Value::Object(items)) = schema.get_mut("items") {
        // What a row is, the tool's own description says.
        items.remove("description");
        drop_required(items);
    }
}

/// The OpenRPC document of all tools as methods.
pub fn open_rpc(tools: &[&dyn Tool]) -> Value {
    let methods: Vec<Value> = tools.iter().map(|tool| method(*tool)).collect();
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "live-response",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Live Response commands as JSON-RPC methods. A refusal or a failure is error -32000 whose \
                            data is the result object.",
        },
        "methods": methods,
    })
}

fn method(tool: &dyn Tool) -> Value {
    let spec: &Spec = tool.spec();
    let input = input_schema(tool);
    let required: Vec<&str> = input
        .get("required")
        .and_then(Value::as_array)
        .map(|r| r.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let params: Vec<Value> = input
        .get("properties")
        .and_then(Value::as_object)
        .map(|properties| {
            properties
                .iter()
                .map(|(name, schema)| {
                    json!({ "name": name, "required": required.contains(&name.as_str()), "schema": schema })
                })
                .collect()
        })
        .unwrap_or_default();
    json!({
        "name": spec.name,
        "summary": spec.title,
        "description": description(tool),
        "paramStructure": "by-name",
        "params": params,
        "result": { "name": "result", "schema": output_schema(tool) },
        "errors": [{ "code": -32000, "message": "refused or failed", "data": { "state": "refused" } }],
    })
}
