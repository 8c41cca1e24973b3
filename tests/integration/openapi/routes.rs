//! What is served is what is described.

use std::cell::RefCell;
use std::collections::BTreeSet;

use actix_web::dev::Service as _;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, rt};
use tallystick::http::{HttpOptions, app_config};
use tallystick::testkit::TestNode;

use super::document::calls;

thread_local! {
    static MAP: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The patterns of all routes, out of the map that the server itself goes by.
fn served() -> BTreeSet<String> {
    let node = TestNode::in_memory(51);
    rt::System::new().block_on(async {
        let app = App::new()
            .wrap_fn(|request, next| {
                MAP.with_borrow_mut(|map| *map = format!("{:?}", request.resource_map()));
                next.call(request)
            })
            .configure(app_config(node.http(HttpOptions::default())));
        let app = init_service(app).await;
        call_service(&app, TestRequest::get().uri("/healthz").to_request()).await;
    });
    let map = MAP.take();
    map.split("Single(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_route_that_is_served_is_described() {
    let mut served = served();
    // The scope that holds all of them.
    assert!(served.remove(""));
    let is_file = |path: &String| path.starts_with("/web/");
    let files: BTreeSet<String> = served.iter().filter(|path| is_file(path)).cloned().collect();
    let mut described = BTreeSet::new();
    for (_, path, call) in calls() {
        match call["operationId"].as_str().unwrap() {
            "getPageFile" => {
                let names = call["parameters"][0]["schema"]["enum"].as_array().unwrap();
                let paths = names
                    .iter()
                    .map(|name| format!("/web/{}", name.as_str().unwrap()));
                assert_eq!(files, paths.collect());
            }
            "followEscapedLink" => {
                let of_digits = |path: &String| path.starts_with("/{v:[Vv]}{mark:(?:#|%23)}{digits:");
                let pattern = served.iter().find(|path| of_digits(path)).unwrap().clone();
                assert!(served.remove(&pattern));
            }
            _ => drop(described.insert(path)),
        }
    }
    served.retain(|path| !is_file(path));
    // A tile's number goes on over slashes; OpenAPI has no way to say so.
    let served: BTreeSet<String> = served.iter().map(|path| path.replace(":.*}", "}")).collect();
    assert_eq!(served, described);
}
