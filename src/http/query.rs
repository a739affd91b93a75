//! Paths, queries and pages: the small change of every route, read strictly.

use std::str::FromStr;

use actix_web::HttpRequest;
use actix_web::web::Query;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// Entries of a page where the request does not say.
const LIMIT_DEFAULT: usize = 100;
/// Entries of the largest page.
const LIMIT_MAX: usize = 1_000;

/// The query's parameters. Unknown ones are ignored.
///
/// # Errors
/// `malformed_request`.
pub fn params<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Problem> {
    let query = Query::<T>::from_query(request.query_string());
    query.map(Query::into_inner).map_err(|error| {
        let error = error.to_string();
        let why = error.strip_prefix("Query deserialize error: ").unwrap_or(&error);
        Problem::malformed(format!("the query does not fit: {why}"))
    })
}

/// A part of the path as an id.
///
/// # Errors
/// `malformed_request`, naming the part.
pub fn path_id<T: FromStr<Err: std::fmt::Display>>(request: &HttpRequest, name: &str) -> Result<T, Problem> {
    id(name, request.match_info().get(name).unwrap_or_default())
}

/// A text as an id.
///
/// # Errors
/// `malformed_request`, naming what it should be.
pub fn id<T: FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::malformed(format!("{name} {error}")))
}

/// The number of entries on a page.
///
/// # Errors
/// `malformed_request` where it is not from 1 to 1000.
pub fn page_limit(limit: Option<usize>) -> Result<usize, Problem> {
    match limit {
        None => Ok(LIMIT_DEFAULT),
        Some(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::malformed(format!("limit is from 1 to {LIMIT_MAX}"))),
    }
}

/// Which page of a caller's own a request wants, newest first: the number before which it starts, and its length.
///
/// # Errors
/// `malformed_request`.
pub fn own_page(request: &HttpRequest) -> Result<(Option<u32>, usize), Problem> {
    #[derive(Deserialize)]
    struct Wanted {
        limit: Option<usize>,
        cursor: Option<String>,
    }
    let wanted: Wanted = params(request)?;
    Ok((page_cursor(wanted.cursor.as_deref())?, page_limit(wanted.limit)?))
}

/// Where a page starts.
///
/// # Errors
/// `malformed_request` where it is none that a page before gave.
pub fn page_cursor<T: FromStr>(cursor: Option<&str>) -> Result<Option<T>, Problem> {
    let read = |cursor: &str| cursor.parse().map_err(|_| Problem::malformed("cursor is what next_cursor gave"));
    cursor.map(read).transpose()
}
