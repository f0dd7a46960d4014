//! Which rows of a listing, in which order, with which columns.
//!
//! Invariant: filter and sort see a text as it leaves, redacted, so that no filter finds out a secret by and by.

use super::filter::{Filter, Place, compare};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Cell, Job, Row};
use crate::nearest::nearest;

/// Rows with their type erased.
pub trait Rows: Send + Sync {
    fn fields(&self) -> &'static [&'static str];

    fn len(&self) -> usize;

    /// `Cell::Empty` for a row or a field that is not there.
    fn cell(&self, row: usize, field: usize) -> Cell<'_>;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<R: Row> Rows for Vec<R> {
    fn fields(&self) -> &'static [&'static str] {
        R::FIELDS
    }

    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn cell(&self, row: usize, field: usize) -> Cell<'_> {
        self.get(row).map_or(Cell::Empty, |r| r.cell(field))
    }
}

/// What a caller wants of a listing.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Only these fields, in this order; all where empty.
    pub fields: Vec<String>,
    /// `field` or `-field`; a dot reaches into an object.
    pub sort: Option<String>,
    /// See [`Filter`].
    pub filter: Option<String>,
}

const MAX_FIELDS: usize = 64;
const MAX_SORT: usize = 128;

impl Wanted {
    /// `E_BAD_ARGS` where it names a field that the rows do not have, or cannot be read.
    pub fn check(&self, known: &[&str]) -> Result<()> {
        self.plan(known).map(drop)
    }

    /// Whether a costly column has to be filled.
    pub fn mentions(&self, field: &str) -> bool {
        self.fields.iter().any(|f| f == field)
            || self.sort.as_deref().is_some_and(|s| Place::head(s.trim_start_matches('-')) == field)
            || self
                .filter
                .as_deref()
                .and_then(|f| Filter::parse(f).ok())
                .is_some_and(|f| f.fields().any(|n| n == field))
    }

    fn plan(&self, known: &[&str]) -> Result<Plan> {
        let columns = self.columns(known)?;
        let sort = self.sort.as_deref().map(|s| sort_key(s, known)).transpose()?;
        let filter = self.filter.as_deref().map(Filter::parse).transpose()?;
        let places = match &filter {
            None => Vec::new(),
            Some(f) => f.places(|name, at| {
                field_index(name, known).map_err(|mut e| {
                    e.message = format!("filter: position {}: {}", at + 1, e.message);
                    e
                })
            })?,
        };
        Ok(Plan { columns, sort, filter, places })
    }

    fn columns(&self, known: &[&str]) -> Result<Vec<usize>> {
        if self.fields.is_empty() {
            return Ok((0..known.len()).collect());
        }
        if self.fields.len() > MAX_FIELDS {
            let message = format!("fields: {} names; at most {MAX_FIELDS} are read", self.fields.len());
            return Err(Error::new(ErrorCode::BadArgs, message));
        }
        let mut columns = Vec::with_capacity(self.fields.len());
        for name in &self.fields {
            let column = field_index(name, known).map_err(|e| match name.split_once('.') {
                Some((head, _)) if known.contains(&head) => {
                    e.hint(format!("fields takes whole fields: {head:?}; filter and sort reach into it"))
                }
                _ => e,
            })?;
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        Ok(columns)
    }
}

struct Plan {
    columns: Vec<usize>,
    sort: Option<(Place, bool)>,
    filter: Option<Filter>,
    places: Vec<Place>,
}

fn sort_key(text: &str, known: &[&str]) -> Result<(Place, bool)> {
    if text.len() > MAX_SORT {
        return Err(Error::new(ErrorCode::BadArgs, format!("sort: {} bytes are no field", text.len())));
    }
    let (name, descending) = match text.strip_prefix('-') {
        Some(name) => (name, true),
        None => (text, false),
    };
    let place = Place::new(name, |head| field_index(head, known))?;
    Ok((place, descending))
}

fn field_index(name: &str, known: &[&str]) -> Result<usize> {
    if let Some(at) = known.iter().position(|k| *k == name) {
        return Ok(at);
    }
    let shown: String = name.chars().take(60).collect();
    let e = Error::new(ErrorCode::BadArgs, format!("there is no field {shown:?}"));
    Err(match nearest(name, known.iter().copied()) {
        Some(near) => e.hint(format!("did you mean {near:?}?")),
        None => e.hint(format!("the fields are {}", known.join(", "))),
    })
}

/// Rows by index, in order, and the columns that are wanted of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    pub order: Vec<u32>,
    pub columns: Vec<usize>,
}

/// How many rows pass between two looks at the job.
pub(super) const STRIDE: usize = 1024;

/// Filters and sorts. The order of equal rows is kept; rows that lack the field come last either way.
pub fn select(rows: &dyn Rows, wanted: &Wanted, job: &Job) -> Result<Selection> {
    let plan = wanted.plan(rows.fields())?;
    let count = u32::try_from(rows.len())
        .map_err(|_| Error::new(ErrorCode::TooLarge, format!("{} rows are more than a listing holds", rows.len())))?;
    let mut order = match &plan.filter {
        None => (0..count).collect(),
        Some(filter) => kept(rows, count, filter, &plan.places, job)?,
    };
    if let Some((place, descending)) = &plan.sort {
        sort(rows, &mut order, place, *descending, job)?;
    }
    Ok(Selection { order, columns: plan.columns })
}

fn kept(rows: &dyn Rows, count: u32, filter: &Filter, places: &[Place], job: &Job) -> Result<Vec<u32>> {
    let mut order = Vec::new();
    for row in 0..count {
        if (row as usize).is_multiple_of(STRIDE) {
            job.check()?;
        }
        if filter.matches(places, |field| rows.cell(row as usize, field))? {
            order.push(row);
        }
    }
    Ok(order)
}

fn sort(rows: &dyn Rows, order: &mut Vec<u32>, place: &Place, descending: bool, job: &Job) -> Result<()> {
    let mut keyed = Vec::with_capacity(order.len());
    for (n, row) in order.iter().enumerate() {
        if n.is_multiple_of(STRIDE) {
            job.check()?;
        }
        keyed.push((place.key(rows.cell(*row as usize, place.field()))?, *row));
    }
    keyed.sort_by(|(a, _), (b, _)| match (matches!(a, Cell::Empty), matches!(b, Cell::Empty)) {
        (false, false) if descending => compare(b, a),
        (false, false) => compare(a, b),
        (a_empty, b_empty) => a_empty.cmp(&b_empty),
    });
    job.check()?;
    order.clear();
    order.extend(keyed.into_iter().map(|(_, row)| row));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DeviceRow;
    use crate::model::{DeviceId, Timestamp};
    use crate::shape::Untrusted;

    fn rows() -> Vec<DeviceRow> {
        [("b10", Some(3)), ("b9", None), ("a", Some(1)), ("a", Some(2))]
            .into_iter()
            .map(|(name, seen)| DeviceRow {
                id: DeviceId::new("x"),
                name: Untrusted::new(name),
                backend: "local",
                platform: "linux",
                os: None,
                address: None,
                last_seen: seen.map(Timestamp::from_millis),
                group: None,
                tier: None,
                tags: vec![],
            })
            .collect()
    }

    fn wanted(fields: &[&str], sort: Option<&str>) -> Wanted {
        Wanted { fields: fields.iter().map(|f| (*f).into()).collect(), sort: sort.map(Into::into), filter: None }
    }

    fn order(sort: &str) -> Vec<u32> {
        select(&rows(), &wanted(&[], Some(sort)), &Job::default()).unwrap().order
    }

    #[test]
    fn sorts_stably_and_puts_what_is_absent_last() {
        assert_eq!(order("name"), [2, 3, 1, 0]);
        assert_eq!(order("-name"), [0, 1, 2, 3]);
        assert_eq!(order("last_seen"), [2, 3, 0, 1]);
        assert_eq!(order("-last_seen"), [0, 3, 2, 1]);
    }

    #[test]
    fn columns_come_in_the_wanted_order_once() {
        let selection = select(&rows(), &wanted(&["os", "id", "os"], None), &Job::default()).unwrap();
        assert_eq!(selection.columns, [4, 0]);
        assert_eq!(selection.order, [0, 1, 2, 3]);
    }

    #[test]
    fn unknown_fields_are_refused_with_the_nearest() {
        for w in [wanted(&["nmae"], None), wanted(&[], Some("-nmae"))] {
            let e = w.check(rows().fields()).unwrap_err();
            assert_eq!(e.code, ErrorCode::BadArgs);
            assert_eq!(e.hint.as_deref(), Some("did you mean \"name\"?"));
        }
        assert!(wanted(&vec!["id"; 65], None).check(rows().fields()).is_err());
        assert!(wanted(&["name.x"], None).check(rows().fields()).unwrap_err().to_string().contains("whole fields"));
    }

    #[test]
    fn a_costly_column_is_filled_when_anything_names_it() {
        assert!(wanted(&["sha256"], None).mentions("sha256"));
        assert!(wanted(&[], Some("-sha256")).mentions("sha256"));
        let filter = |f: &str| Wanted { filter: Some(f.into()), ..Wanted::default() };
        assert!(filter("pid>1 and sha256~00").mentions("sha256"));
        assert!(!filter("name=sha256").mentions("sha256"));
        assert!(!Wanted::default().mentions("sha256"));
    }

    #[test]
    fn a_cancelled_job_ends_it() {
        let job = Job::default();
        job.cancel();
        let e = select(&rows(), &wanted(&[], Some("name")), &job).unwrap_err();
        assert_eq!(e.code, ErrorCode::Cancelled);
    }
}
