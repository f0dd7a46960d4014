//! What a command gives, on its way to `shape`: a listing's rows or one object.

use super::schema;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Listing, NoExtra, Remediated, Row};
use crate::shape::Rows;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::value::RawValue;

/// An output with its type erased.
pub enum Body {
    Rows {
        rows: Box<dyn Rows>,
        /// A JSON object: what stands beside `rows`.
        extra: Box<RawValue>,
    },
    Object(Box<RawValue>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Body::Rows { rows, .. } => write!(f, "{} rows", rows.len()),
            Body::Object(o) => f.write_str(o.get()),
        }
    }
}

pub trait Output: Send {
    /// The rows' fields, for a listing.
    const FIELDS: Option<&'static [&'static str]>;

    fn schema() -> Schema;

    fn into_body(self) -> Result<Body>;
}

/// One object, no listing.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<T: Serialize + JsonSchema + Send> Output for Object<T> {
    const FIELDS: Option<&'static [&'static str]> = None;

    fn schema() -> Schema {
        schema::of::<T>()
    }

    fn into_body(self) -> Result<Body> {
        Ok(Body::Object(render(&self.0)?))
    }
}

impl<R: Row + JsonSchema, X: Serialize + JsonSchema + Send> Output for Listing<R, X> {
    const FIELDS: Option<&'static [&'static str]> = Some(super::spec::fields::<R>());

    fn schema() -> Schema {
        schema::listing(schema::of::<R>(), schema::of::<X>())
    }

    fn into_body(self) -> Result<Body> {
        Ok(Body::Rows { extra: render(&self.extra)?, rows: Box::new(self.rows) })
    }
}

/// A listing, or one object where one was named.
#[derive(Debug)]
pub enum ListingOr<R, T, X = NoExtra> {
    Listing(Listing<R, X>),
    Object(T),
}

impl<R, T, X> Output for ListingOr<R, T, X>
where
    R: Row + JsonSchema,
    T: Serialize + JsonSchema + Send,
    X: Serialize + JsonSchema + Send,
{
    const FIELDS: Option<&'static [&'static str]> = Some(super::spec::fields::<R>());

    fn schema() -> Schema {
        schema::listing(schema::of::<R>(), schema::both(schema::of::<T>(), schema::of::<X>()))
    }

    fn into_body(self) -> Result<Body> {
        match self {
            ListingOr::Listing(listing) => listing.into_body(),
            ListingOr::Object(object) => Object(object).into_body(),
        }
    }
}

/// A listing; what came of a change that a person approved has the rows of outcomes instead.
#[derive(Debug)]
pub struct ListingOrOutcome<R>(pub Vec<R>);

impl<R: Row + JsonSchema> Output for ListingOrOutcome<R> {
    const FIELDS: Option<&'static [&'static str]> = Some(super::spec::fields::<R>());

    fn schema() -> Schema {
        schema::listing(schema::both(schema::of::<Remediated>(), schema::of::<R>()), schema::of::<NoExtra>())
    }

    fn into_body(self) -> Result<Body> {
        Listing::from(self.0).into_body()
    }
}

fn render<T: Serialize>(value: &T) -> Result<Box<RawValue>> {
    serde_json::value::to_raw_value(value)
        .map_err(|e| Error::new(ErrorCode::Internal, format!("the answer has no JSON form: {e}")))
}
