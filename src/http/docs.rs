//! The API's description and its page. The page is in the binary, and asks nobody outside for anything.

use std::sync::{Arc, LazyLock};

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use utoipa_swagger_ui::Config;

use super::openapi;
use super::problem::Problem;
use super::route::{Reply, get};

/// The routes of the operator listener.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(get("/openapi.json", description))
        .service(get("/docs", to_page))
        .service(get("/docs/{file:.*}", page));
}

async fn description() -> HttpResponse {
    static JSON: LazyLock<Vec<u8>> =
        LazyLock::new(|| serde_json::to_vec(&openapi::description()).expect("our own description is serializable"));
    HttpResponse::Ok().content_type("application/json").body(JSON.as_slice())
}

async fn to_page() -> HttpResponse {
    HttpResponse::TemporaryRedirect().insert_header((header::LOCATION, "/docs/")).finish()
}

async fn page(request: HttpRequest) -> Reply {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
        let config = Config::from("/openapi.json");
        // The page's default shows every description to a validator on the Internet.
        let config = config.validator_url("none");
        // Nor is there another description to be explored: no bar at the top.
        let config = config.use_base_layout().deep_linking(true).doc_expansion("list");
        Arc::new(config.default_models_expand_depth(0).persist_authorization(true))
    });
    let file = request.match_info().get("file").unwrap_or_default();
    match utoipa_swagger_ui::serve(file, Arc::clone(&CONFIG)) {
        Ok(Some(file)) => Ok(HttpResponse::Ok().content_type(file.content_type).body(file.bytes.into_owned())),
        _ => Err(Problem::not_found("the page has no such file")),
    }
}
