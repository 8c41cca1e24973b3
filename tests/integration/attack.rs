//! HTTP under attack: the real program, raw connections. Whatever is thrown at
//! it, its memory is bounded and tills are served meanwhile.

mod bodies;
mod crowds;
mod lab;
mod requests;
