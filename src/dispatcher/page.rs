//! Pages of a listing: rows rendered once, kept for their cursor, put into an answer's `data`.

use crate::error::{Error, ErrorCode, Result};
use crate::model::Job;
use crate::shape::{self, Page, PageRows, ResultObject, Rows, Selection, Snapshot, Snapshots};
use serde_json::value::RawValue;
use std::path::Path;

/// Where a page stands in its listing.
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) total: usize,
    pub(super) listing: Option<String>,
}

/// Renders the selected rows once, as the snapshot that cursors read, and gives its first page.
pub(super) fn first_page(
    rows: &dyn Rows,
    selection: &Selection,
    size: usize,
    cap: Option<usize>,
    spill: &Path,
    job: &Job,
) -> Result<(Snapshot, PageRows)> {
    let mut builder = Snapshot::builder(spill);
    let mut line = Vec::with_capacity(512);
    for (i, row) in selection.order.iter().enumerate() {
        if i % 1024 == 0 {
            job.check()?;
        }
        line.clear();
        shape::write_row(rows, usize::try_from(*row).unwrap_or(usize::MAX), &selection.columns, &mut line);
        builder.push(&line)?;
    }
    let snapshot = builder.finish()?;
    let page = snapshot.page(0, size, cap)?;
    Ok((snapshot, page))
}

/// `data` of a page: the rows after the fields that stand beside them.
pub(super) fn fill(result: &mut ResultObject, page: PageRows, place: Place, extra: &RawValue) -> Result<()> {
    let beside = extra.get().strip_prefix('{').and_then(|e| e.strip_suffix('}')).unwrap_or_default();
    let mut data =
        String::with_capacity(page.rows.iter().map(|r| r.get().len() + 1).sum::<usize>() + beside.len() + 16);
    data.push('{');
    if !beside.is_empty() {
        data.push_str(beside);
        data.push(',');
    }
    data.push_str("\"rows\":[");
    for (i, row) in page.rows.iter().enumerate() {
        if i > 0 {
            data.push(',');
        }
        data.push_str(row.get());
    }
    data.push_str("]}");
    let data =
        RawValue::from_string(data).map_err(|e| Error::new(ErrorCode::Internal, "a row has no JSON form").source(e))?;
    result.page = Some(Page {
        returned: page.rows.len(),
        total: place.total,
        next_cursor: place.listing.as_deref().zip(page.next).map(|(id, next)| Snapshots::cursor(id, next)),
        truncated: page.truncated,
        start: place.start,
        listing: place.listing,
    });
    result.data = Some(data);
    Ok(())
}
