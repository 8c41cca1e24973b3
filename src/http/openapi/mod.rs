//! The API's description, generated from the handlers: OpenAPI 3.1.
//!
//! What utoipa cannot know of a handler is added afterwards: `complete` has keys,
//! headers and what calls have in common, `codes` and `problems` the problem
//! documents, `scalars` exact patterns, `links` which answers lead to which
//! calls, `page` the routes of the web page, `examples` what a node answered.

use std::sync::LazyLock;

use actix_web::App;
use serde_json::{Map, Value};
use utoipa_actix_web::AppExt as _;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    batches, campaigns, coupons, entries, erasures, federation, gossip, mirrors, partners, proofs, public,
    receipts, redemptions, revocations, tiles, witness,
};

mod codes;
mod complete;
mod examples;
mod links;
mod page;
mod problems;
mod scalars;

/// Every route, for serving and for describing alike.
pub fn routes(config: &mut ServiceConfig<'_>) {
    // Routes are tried in this order: what tills wait for comes first.
    config
        .service(redemptions::post_redemption)
        .service(receipts::post_receipt)
        .service(coupons::post_validation)
        .service(receipts::find_receipts)
        .service(receipts::get_receipt)
        .service(campaigns::post_campaign)
        .service(campaigns::list_campaigns)
        .service(campaigns::get_campaign)
        .service(coupons::post_coupons)
        .service(batches::get_batch)
        .service(batches::get_tag_path)
        .service(batches::get_coupon_path)
        .service(redemptions::find_redemptions)
        .service(redemptions::get_redemption)
        .service(redemptions::post_reversal)
        .service(partners::post_partner_redemptions)
        .service(partners::post_cancellation)
        .service(revocations::post_revocation)
        .service(erasures::post_erasure)
        .service(federation::post_roster)
        .service(federation::newest_roster)
        .service(federation::roster_version)
        .service(federation::roster_conflict)
        .service(gossip::post_gossip)
        .service(gossip::list_evidence)
        .service(entries::post_entries)
        .service(proofs::get_entry)
        .service(proofs::get_inclusion)
        .service(proofs::get_consistency)
        .service(tiles::entry_bundle)
        .service(tiles::stub_bundle)
        .service(tiles::tag_tile)
        .service(tiles::tile)
        .service(mirrors::mirror_checkpoint)
        .service(mirrors::mirror_key)
        .service(mirrors::mirror_entry_bundle)
        .service(mirrors::mirror_stub_bundle)
        .service(mirrors::mirror_tag_tile)
        .service(mirrors::mirror_tile)
        .service(public::status_list)
        .service(public::did_json)
        .service(public::checkpoint)
        .service(witness::add_checkpoint)
        .service(witness::witnessed_checkpoint)
        .service(public::metrics)
        .service(public::healthz)
        .service(public::readyz)
        .service(public::openapi_json)
        .service(public::errors);
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let (_, generated) = App::new().into_utoipa_app().configure(routes).split_for_parts();
    let mut document = serde_json::to_value(generated).expect("OpenAPI is JSON");
    complete::complete(&mut document);
    document
});

static TEXT: LazyLock<String> = LazyLock::new(|| DOCUMENT.to_string());

/// The description as JSON.
#[must_use]
pub fn document() -> &'static Value {
    &DOCUMENT
}

/// The description as text.
pub fn text() -> &'static str {
    &TEXT
}

/// The methods that a path takes, HEAD wherever GET is; none where there is no
/// such path.
pub fn methods_of(path: &str) -> Vec<String> {
    let paths = DOCUMENT["paths"].as_object().into_iter().flatten();
    let found = paths.filter(|(pattern, _)| matches(pattern, path));
    let methods = found.flat_map(|(_, item)| item.as_object().into_iter().flat_map(Map::keys));
    let mut all = Vec::new();
    for method in methods {
        all.push(method.to_uppercase());
        if method == "get" {
            all.push("HEAD".to_owned());
        }
    }
    all
}

fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path) = match pattern.strip_suffix("/{number}") {
        // A tile's number goes on over slashes.
        Some(before) => match path.get(..before_number(before, path)) {
            Some(head) if head.len() + 1 < path.len() => (before, head),
            _ => return false,
        },
        None => (pattern, path),
    };
    let mut segments = path.split('/');
    pattern.split('/').all(|wanted| {
        let found = segments.next();
        found.is_some_and(|found| segment_matches(wanted, found))
    }) && segments.next().is_none()
}

/// Where in `path` the slash stands that follows as many segments as `before` has.
fn before_number(before: &str, path: &str) -> usize {
    let mut slashes = path.match_indices('/').map(|(at, _)| at);
    slashes.nth(before.split('/').count() - 1).unwrap_or(path.len())
}

/// A segment is a text, or a text that ends in one parameter.
fn segment_matches(wanted: &str, found: &str) -> bool {
    match wanted.split_once('{') {
        Some((before, _)) => found
            .strip_prefix(before)
            .is_some_and(|parameter| !parameter.is_empty()),
        None => found == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_know_their_methods() {
        assert_eq!(methods_of("/v1/receipts"), ["GET", "HEAD", "POST"]);
        assert_eq!(methods_of("/v1/receipts/x"), ["GET", "HEAD"]);
        assert_eq!(methods_of("/v1/redemptions/x/reversals"), ["POST"]);
        assert!(methods_of("/v1/receipts/").is_empty());
        assert!(methods_of("/v1/coupons/0-1").is_empty());
        assert!(methods_of("/").is_empty());
        assert_eq!(methods_of("/V"), ["GET", "HEAD"]);
        for tile in [
            "/tile/0/000",
            "/tile/0/x001/067.p/3",
            "/tile/7/no-number",
            "/mirror/other/tile/0/x001/067",
            "/mirror/other/checkpoint",
        ] {
            assert_eq!(methods_of(tile), ["GET", "HEAD"], "{tile}");
        }
        assert!(methods_of("/tile/0").is_empty());
        assert!(methods_of("/tile/0/").is_empty());
        assert_eq!(methods_of("/V%23411"), ["GET", "HEAD"]);
        assert!(methods_of("/V%23").is_empty());
    }

    #[test]
    fn every_reference_leads_somewhere_and_nothing_is_null() {
        fn walk(value: &Value, each: &mut dyn FnMut(&str)) {
            match value {
                Value::Object(members) => {
                    for (name, member) in members {
                        match (name.as_str(), member) {
                            ("$ref", Value::String(to)) => each(to),
                            ("example" | "examples" | "value", _) => {}
                            (name, Value::Null) => panic!("{name} is null"),
                            _ => walk(member, each),
                        }
                    }
                }
                Value::Array(items) => items.iter().for_each(|item| walk(item, each)),
                _ => {}
            }
        }
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        let mut references = 0;
        walk(document, &mut |to| {
            references += 1;
            let pointer = to.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{to} leads nowhere");
        });
        assert!(references > 50);
    }
}
