//! The operator listener's routes. Every change is an event in the journal, with who and when.

mod access;
pub mod activities;
pub mod change;
pub mod grabs;
pub mod orders;
pub mod red_packets;
pub mod refunds;
pub mod reload;
pub mod stock;
pub mod switch;

use actix_web::web;

use super::route::{get, post, read, refuse_others};

/// The listener's routes.
pub fn routes(config: &mut web::ServiceConfig) {
    let activity = web::resource("/admin/v1/activities/{activity_id}").put(activities::put_activity);
    config
        .service(get("/admin/v1/activities", activities::activities))
        .service(refuse_others(read(activity, activities::activity), "GET, HEAD, PUT"))
        .service(post("/admin/v1/activities/{activity_id}/reload", reload::reload))
        .service(post("/admin/v1/reload", reload::reload_all))
        .service(post("/admin/v1/red-packets", red_packets::make))
        .service(post("/admin/v1/activities/{activity_id}/pause", switch::pause))
        .service(post("/admin/v1/activities/{activity_id}/resume", switch::resume))
        .service(post("/admin/v1/activities/{activity_id}/close", switch::close))
        .service(post("/admin/v1/activities/{activity_id}/stock", stock::add_stock))
        .service(get("/admin/v1/activities/{activity_id}/stats", stock::stats))
        .service(get("/admin/v1/activities/{activity_id}/orders", orders::orders))
        .service(get("/admin/v1/activities/{activity_id}/grabs", grabs::grabs))
        .service(get("/admin/v1/orders/{order_id}", orders::order))
        .service(post("/admin/v1/orders/{order_id}/refund", refunds::refund))
        .service(get("/admin/v1/refunds", refunds::refunds))
        .service(post("/admin/v1/refunds/{payment_id}/done", refunds::done));
}
