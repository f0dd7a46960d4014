//! A collection, page by page.
//!
//! Invariant: a page is never asked for at another host than the first; the pages end.

use super::{Call, Client, Endpoint, Failure, FailureKind, json};
use crate::error::{Error, ErrorCode, Result};
use crate::model::Job;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// Rows of a page: the most that the service gives.
const PAGE: usize = 10_000;
/// No collection has more pages.
const PAGES: usize = 1_000;

#[derive(Deserialize)]
pub(crate) struct Page<T: DeserializeOwned> {
    #[serde(default = "Vec::new", deserialize_with = "json::rows")]
    pub(crate) value: Vec<T>,
    #[serde(default, rename = "@odata.nextLink", deserialize_with = "json::tolerant")]
    next: Option<String>,
}

/// Reads a collection; nothing is asked before [`Pages::next`].
pub struct Pages<T> {
    client: Client,
    endpoint: &'static Endpoint,
    next: Option<Next>,
    path: &'static str,
    filter: Option<String>,
    pages: usize,
    rows: PhantomData<fn() -> T>,
}

enum Next {
    Skip(usize),
    Link(Url),
}

impl<T: DeserializeOwned + Send + 'static> Pages<T> {
    pub(crate) fn new(client: &Client, endpoint: &'static Endpoint, path: &'static str, filter: Option<&str>) -> Self {
        Pages {
            client: client.clone(),
            endpoint,
            next: Some(Next::Skip(0)),
            path,
            filter: filter.map(str::to_owned),
            pages: 0,
            rows: PhantomData,
        }
    }

    /// The next page; `None` after the last.
    pub async fn next(&mut self, job: &Job) -> Result<Option<Vec<T>>> {
        self.following(job).await.map_err(Failure::into_error)
    }

    /// As [`Pages::next`], telling apart why there is none.
    pub(crate) async fn following(&mut self, job: &Job) -> std::result::Result<Option<Vec<T>>, Failure> {
        let Some(next) = self.next.take() else { return Ok(None) };
        self.pages += 1;
        if self.pages > PAGES {
            return Err(Error::new(ErrorCode::TooLarge, format!("Defender gives more than {PAGES} pages"))
                .hint("narrow the filter")
                .into());
        }
        let call = self.call(&next)?;
        let page: Page<T> = match self.client.ask(&call, job).await {
            Ok(page) => page,
            // The service says so where it has none.
            Err(failure) if failure.kind == FailureKind::Missing => return Ok(None),
            Err(failure) => return Err(failure),
        };
        self.next = self.after(&next, &page)?;
        Ok(Some(page.value))
    }

    /// All rows, where there are not many.
    pub async fn all(mut self, job: &Job) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        while let Some(page) = self.next(job).await? {
            rows.extend(page);
        }
        Ok(rows)
    }

    fn call(&self, next: &Next) -> Result<Call> {
        let mut call = match next {
            Next::Link(_) => self.client.get(self.endpoint, &[self.path], &[])?,
            Next::Skip(skip) => {
                let (top, skip) = (PAGE.to_string(), skip.to_string());
                let mut query = Vec::with_capacity(3);
                if let Some(filter) = &self.filter {
                    query.push(("$filter", filter.as_str()));
                }
                query.push(("$top", &top));
                if skip != "0" {
                    query.push(("$skip", &skip));
                }
                self.client.get(self.endpoint, &[self.path], &query)?
            }
        };
        if let Next::Link(link) = next {
            call.url = link.clone();
        }
        Ok(call)
    }

    fn after(&self, next: &Next, page: &Page<T>) -> Result<Option<Next>> {
        if let Some(link) = &page.next {
            let base = self.client.url(&[self.path], &[])?;
            // A relative one is meant from where it stood.
            let link = base.join(link).ok().filter(|link| link.origin() == base.origin());
            return match link {
                Some(link) => Ok(Some(Next::Link(link))),
                None => Err(Error::new(ErrorCode::Backend, "Defender's next page is at another host")
                    .hint("a token goes to api_url only; set it to the host that the tenant uses")),
            };
        }
        Ok(match next {
            Next::Skip(skip) if page.value.len() >= PAGE => Some(Next::Skip(skip + page.value.len())),
            _ => None,
        })
    }
}

/// A text as an OData literal.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
