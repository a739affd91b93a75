//! The shopper listener's routes, by what they are about.

pub mod activities;
pub mod grabs;
pub mod order_request;
pub mod orders;
pub mod payments;
pub mod result;

use actix_web::web;

use super::route::{get, post, read, refuse_others};

/// The listener's routes.
pub fn routes(config: &mut web::ServiceConfig) {
    let orders = web::resource("/v1/flash-sales/{activity_id}/orders").post(orders::place_order);
    let grabs = web::resource("/v1/red-packets/{activity_id}/grabs").post(grabs::grab);
    // Paths are tried in this order: first what a crowd asks for.
    config
        .service(refuse_others(read(orders, orders::own_orders), "GET, HEAD, POST"))
        .service(refuse_others(read(grabs, grabs::own_grabs), "GET, HEAD, POST"))
        .service(get("/v1/flash-sales/{activity_id}/result", result::result))
        .service(get("/v1/activities", activities::activities))
        .service(get("/v1/activities/{activity_id}", activities::activity))
        .service(get("/v1/orders/{order_id}", orders::order))
        .service(post("/v1/orders/{order_id}/cancel", orders::cancel))
        .service(post("/v1/payments/callback", payments::callback));
}
