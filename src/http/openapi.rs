//! The API's description, made from the handlers themselves.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{operator, server, shopper};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Doorbuster",
        description = "Who gets the last one. Shoppers' routes answer on the shopper listener, `/admin/…`, `/metrics` \
            and this page on the operator listener. Errors are RFC 9457 problems with a stable `code`; ids are strings, \
            instants are milliseconds since 1970 in fields named `…_ms`, money is integer cents."
    ),
    paths(
        shopper::activities,
        shopper::activity,
        shopper::place_order,
        shopper::own_orders,
        shopper::result,
        shopper::order,
        shopper::cancel,
        operator::activities,
        operator::activity,
        operator::put_activity,
        operator::reload,
        operator::reload_all,
        operator::pause,
        operator::resume,
        operator::close,
        operator::add_stock,
        operator::stats,
        operator::orders,
        operator::order,
        server::healthz,
        server::readyz,
        server::metrics,
    ),
    modifiers(&BearerTokens)
)]
struct Api;

struct BearerTokens;

impl Modify for BearerTokens {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = api.components.get_or_insert_with(Default::default);
        components.add_security_scheme("jwt", SecurityScheme::Http(bearer));
    }
}

/// The API's description.
#[must_use]
pub fn description() -> utoipa::openapi::OpenApi {
    Api::openapi()
}
