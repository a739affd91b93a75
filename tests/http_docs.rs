//! What people and programs read about the API: the description lists exactly the routes that there are, its page needs
//! nobody outside, and the metrics are text that Prometheus reads.

mod http;

use std::collections::{BTreeMap, BTreeSet};

use http::packets::{GRABS, raining};
use http::payments::paying;
use http::{ORDERS, Request, Server, connect, get, post, put, wish};
use serde_json::{Value, json};

/// The routes of this version, as the contract has them.
const ROUTES: [(&str, &str); 30] = [
    ("get", "/v1/activities"),
    ("get", "/v1/activities/{activity_id}"),
    ("post", "/v1/flash-sales/{activity_id}/orders"),
    ("get", "/v1/flash-sales/{activity_id}/orders"),
    ("get", "/v1/flash-sales/{activity_id}/result"),
    ("get", "/v1/orders/{order_id}"),
    ("post", "/v1/orders/{order_id}/cancel"),
    ("post", "/v1/red-packets/{activity_id}/grabs"),
    ("get", "/v1/red-packets/{activity_id}/grabs"),
    ("post", "/v1/payments/callback"),
    ("post", "/admin/v1/orders/{order_id}/refund"),
    ("get", "/admin/v1/refunds"),
    ("post", "/admin/v1/refunds/{payment_id}/done"),
    ("put", "/admin/v1/activities/{activity_id}"),
    ("get", "/admin/v1/activities"),
    ("get", "/admin/v1/activities/{activity_id}"),
    ("post", "/admin/v1/activities/{activity_id}/reload"),
    ("post", "/admin/v1/reload"),
    ("post", "/admin/v1/red-packets"),
    ("post", "/admin/v1/activities/{activity_id}/pause"),
    ("post", "/admin/v1/activities/{activity_id}/resume"),
    ("post", "/admin/v1/activities/{activity_id}/close"),
    ("post", "/admin/v1/activities/{activity_id}/stock"),
    ("get", "/admin/v1/activities/{activity_id}/stats"),
    ("get", "/admin/v1/orders/{order_id}"),
    ("get", "/admin/v1/activities/{activity_id}/orders"),
    ("get", "/admin/v1/activities/{activity_id}/grabs"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
];

fn description(server: &Server) -> Value {
    connect(server.operator).ask(&get("/openapi.json")).json()
}

/// Every object in a tree of JSON.
fn objects<'a>(value: &'a Value, found: &mut Vec<&'a serde_json::Map<String, Value>>) {
    match value {
        Value::Object(fields) => {
            found.push(fields);
            fields.values().for_each(|value| objects(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| objects(value, found)),
        _ => {}
    }
}

#[test]
fn the_description_lists_exactly_the_routes_that_there_are() {
    let server = Server::selling_with(1, paying());
    let api = description(&server);
    let mut described = BTreeSet::new();
    for (path, item) in api["paths"].as_object().expect("paths") {
        item.as_object()
            .expect("methods")
            .keys()
            .for_each(|method| _ = described.insert((method.as_str(), path.as_str())));
    }
    assert_eq!(described, BTreeSet::from(ROUTES));
    for (method, path) in ROUTES {
        let path = path.replace("{activity_id}", "1001").replace("{order_id}", "1").replace("{payment_id}", "p1");
        let address = if path.starts_with("/v1") { server.shopper } else { server.operator };
        let reply = connect(address).ask(&Request::new(&method.to_uppercase(), &path));
        assert!(matches!(reply.status, 200 | 401), "{method} {path}: {}", reply.status);
        let token = server.token(1, None);
        let other = connect(address).ask(&Request::new("DELETE", &path).token(&token));
        let allowed = other.header("allow").expect("a list").to_lowercase();
        assert!(allowed.split(", ").any(|known| known == method), "{method} {path}: {allowed}");
        for known in allowed.split(", ").filter(|known| *known != "head") {
            assert!(ROUTES.iter().any(|route| route.0 == known), "{known} {path} is described");
        }
    }
}

#[test]
fn the_description_is_whole() {
    let server = Server::empty();
    let api = description(&server);
    let mut found = Vec::new();
    objects(&api, &mut found);
    let mut references = 0;
    for fields in &found {
        let Some(reference) = fields.get("$ref").and_then(Value::as_str) else { continue };
        let place = reference.strip_prefix('#').expect("nothing outside is needed");
        assert!(api.pointer(place).is_some(), "{reference} is described");
        references += 1;
    }
    assert!(references > 20);
    let ids: Vec<&str> = found.iter().filter_map(|fields| fields.get("operationId")?.as_str()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ROUTES.len(), "each has a name of its own: {ids:?}");
    let tags: BTreeSet<&str> =
        api["tags"].as_array().expect("tags").iter().filter_map(|tag| tag["name"].as_str()).collect();
    for (path, item) in api["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let what = format!("{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{what} says what it does");
            assert!(tags.contains(operation["tags"][0].as_str().expect("a tag")), "{what} stands in a group");
            let signed = path == "/v1/payments/callback";
            let wants_token = !signed && (path.starts_with("/v1") || path.starts_with("/admin"));
            assert_eq!(operation["security"][0]["jwt"].is_array(), wants_token, "{what}");
            for (status, response) in operation["responses"].as_object().expect("responses") {
                assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{what} {status}");
                let problem = response.pointer("/content/application~1problem+json/schema/$ref");
                let is_refusal = status.starts_with(['4', '5']);
                assert_eq!(
                    problem.is_some_and(|it| it == "#/components/schemas/Problem"),
                    is_refusal,
                    "{what} {status}"
                );
                assert!(is_refusal || response["content"].is_object(), "{what} {status} has a body");
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let required = parameter["in"] == "path" || parameter["name"] == "sku_id" || signed;
                assert_eq!(parameter["required"] == true, required, "{what}: {}", parameter["name"]);
            }
        }
    }
    // What an order looks like is what is described.
    let server = Server::selling(1);
    let order = server.shopper(1, post(ORDERS).json(&wish(1))).ok(201);
    let described = api.pointer("/components/schemas/Order/properties").expect("an order").as_object().expect("fields");
    let shown: BTreeSet<&String> = order.as_object().expect("fields").keys().collect();
    let known: BTreeSet<&String> = described.keys().filter(|name| *name != "user_id").collect();
    assert_eq!(shown, known);
    let rain = raining(1, 1, json!({}));
    let described = api.pointer("/components/schemas/Grab/properties").expect("a grab").as_object().expect("fields");
    let grab = rain.shopper(1, post(GRABS)).ok(201);
    let shown: BTreeSet<&String> = grab.as_object().expect("fields").keys().collect();
    let known: BTreeSet<&String> = described.keys().filter(|name| *name != "user_id").collect();
    assert_eq!(shown, known);
}

#[test]
fn a_definition_made_of_the_examples_is_taken() {
    let server = Server::empty();
    let api = description(&server);
    let schema = |name: &str| api.pointer(&format!("/components/schemas/{name}")).expect("a schema").clone();
    let example = |name: &str| -> Value {
        let schema = schema(name);
        let properties = schema["properties"].as_object().expect("fields").iter();
        let given = properties.filter_map(|(name, field)| Some((name.clone(), field.get("example")?.clone())));
        Value::Object(given.collect())
    };
    for (id, name, list, item) in
        [(1, "Definition", "skus", "SkuDefinition"), (3, "RedPacketDefinition", "rounds", "RoundDefinition")]
    {
        let (path, other) = (format!("/admin/v1/activities/{id}"), format!("/admin/v1/activities/{}", id + 1));
        let mut definition = example(name);
        definition[list] = json!([example(item)]);
        server.operator(put(&path, &definition)).ok(201);
        // What is described as needed is needed, and nothing else is.
        let needed = schema(name)["required"].clone();
        for name in needed.as_array().expect("a list").iter().filter_map(Value::as_str) {
            let mut without = definition.clone();
            without.as_object_mut().expect("an object").remove(name);
            server.operator(put(&other, &without)).problem(422, "invalid_definition");
        }
        let is_needed = |name: &String| needed.as_array().expect("a list").iter().any(|known| known == name);
        definition.as_object_mut().expect("an object").retain(|name, _| is_needed(name));
        // Of how many shards an activity is stays as it is.
        let redefined = if id == 1 { path } else { other };
        let status = if id == 1 { 200 } else { 201 };
        server.operator(put(&redefined, &definition)).ok(status);
    }
}

#[test]
fn the_page_needs_nobody_outside() {
    let server = Server::empty();
    let ask = |path: &str| connect(server.operator).ask(&get(path));
    let redirect = ask("/docs");
    assert_eq!((redirect.status, redirect.header("location")), (307, Some("/docs/")));
    let page = ask("/docs/");
    assert_eq!((page.status, page.header("content-type").map(|kind| kind.starts_with("text/html"))), (200, Some(true)));
    let mut files = 0;
    for part in page.text().split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
        assert!(!part.contains("//"), "{part} is here");
        let file = ask(&format!("/docs/{}", part.trim_start_matches("./")));
        assert_eq!(file.status, 200, "{part}");
        files += 1;
    }
    assert!(files >= 3);
    assert!(!page.text().contains("http://") && !page.text().contains("https://"));
    let start = ask("/docs/swagger-initializer.js");
    assert!(
        start.text().contains("\"/openapi.json\"") && start.text().contains("\"validatorUrl\": \"none\""),
        "{}",
        start.text()
    );
    for none in ["/docs/none.js", "/docs/../openapi.json", "/docs/%2e%2e/%2e%2e/etc/passwd", "/docs//etc/passwd"] {
        ask(none).problem(404, "not_found");
    }
}

#[test]
fn the_metrics_are_text_that_prometheus_reads() {
    let server = Server::selling(2);
    server.shopper(1, post(ORDERS).json(&wish(1))).ok(201);
    server.shopper(1, get("/nowhere")).problem(404, "not_found");
    let reply = connect(server.operator).ask(&get("/metrics"));
    let kind = reply.header("content-type").expect("a type");
    assert_eq!((reply.status, kind), (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(reply.text().ends_with("# EOF\n"), "a scrape that was cut is no scrape");
    let mut types = BTreeMap::new();
    for line in reply.text().lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(types.insert(name, kind).is_none(), "{name} is told once");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = series.split('{').next().expect("a name");
            let family = types.iter().find(|(family, kind)| match **kind {
                "counter" => name.strip_suffix("_total") == Some(**family),
                "histogram" => ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(**family)),
                _ => name == **family,
            });
            assert!(family.is_some(), "{line} has a type");
            assert!(name.starts_with("doorbuster_"), "{line}");
        }
    }
    for (series, value) in [
        ("doorbuster_orders_accepted_total", 1.0),
        ("doorbuster_journal_events_total", 2.0),
        ("doorbuster_http_requests_total{listener=\"shopper\",status=\"201\"}", 1.0),
        ("doorbuster_http_requests_total{listener=\"shopper\",status=\"404\"}", 1.0),
        ("doorbuster_refusals_total{code=\"not_found\"}", 1.0),
        ("doorbuster_sku_available{activity_id=\"1001\",sku_id=\"2001\"}", 1.0),
    ] {
        assert_eq!(server.metric(series), Some(value), "{series}");
    }
}
