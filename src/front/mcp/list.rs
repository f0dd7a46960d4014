//! The list of tools: built from the registry at first need, kept as text.

use super::Options;
use crate::registry::{Tool, description, input_schema, output_schema};
use rmcp::model::{CacheScope, ListToolsResult, ResultType, Tool as Listed, ToolAnnotations};
use std::sync::Arc;

/// The list is the same for the life of the process.
const FRESH_MS: u64 = 300_000;

/// The `result` of `tools/list`; `modern` peers get how long it holds.
pub fn render(options: &Options, modern: bool) -> Arc<str> {
    let tools = options.offered().map(|tool| listed(tool, options.output_schemas)).collect();
    let mut list = ListToolsResult::with_all_items(tools);
    if modern {
        list = list.with_ttl_ms(FRESH_MS).with_cache_scope(CacheScope::Private);
        list.result_type = Some(ResultType::COMPLETE);
    } else {
        list.result_type = None;
    }
    serde_json::to_string(&list).unwrap_or_else(|_| r#"{"tools":[]}"#.into()).into()
}

fn listed(tool: &dyn Tool, output_schemas: bool) -> Listed {
    let spec = tool.spec();
    let changes = spec.effect.changes();
    let mut hints = ToolAnnotations::new().read_only(!changes).destructive(changes).open_world(false);
    // The protocol gives it a meaning only where a tool changes something.
    hints.idempotent_hint = changes.then_some(false);
    let listed = Listed::new(spec.name, description(tool), Arc::new(input_schema(tool)))
        .with_title(spec.title)
        .with_annotations(hints);
    match output_schemas {
        true => listed.with_raw_output_schema(Arc::new(output_schema(tool))),
        false => listed,
    }
}
