//! The API's description is pinned: a change of the API is seen in review.

mod document;
mod examples;
mod routes;
