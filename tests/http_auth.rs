//! Who may ask: tokens that fit in every claim and no others, and what each role may do on the operator listener.

mod http;

use std::time::{SystemTime, UNIX_EPOCH};

use http::packets::{RAIN, rain};
use http::{ORDERS, Request, SALE, Server, Settings, connect, get, post, put, sale, wish};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

const SECRET: &str = "a secret of the tests, 32 bytes or more";
const OTHER: &str = "another secret of the tests, 32 bytes or more";

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}

/// Sound claims with some otherwise; `null` leaves one out.
fn claims(changes: Value) -> Value {
    let mut claims = json!({ "sub": "42", "exp": now_s() + 600, "iss": "doorbuster", "aud": "doorbuster" });
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => _ = claims.as_object_mut().expect("an object").remove(name),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn signed(secret: &str, changes: Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims(changes), &key).expect("HS256 signs")
}

/// The claims under `alg: none`, with whatever stands for a signature.
fn unsigned(alg: &str, signature: &str) -> String {
    let part = |value: Value| base64(value.to_string().as_bytes());
    format!("{}.{}.{signature}", part(json!({ "alg": alg, "typ": "JWT" })), part(claims(json!({}))))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            let place = usize::try_from(bits >> (18 - 6 * digit) & 63).expect("six bits");
            text.push(char::from(DIGITS[place]));
        }
    }
    text
}

#[test]
fn only_a_token_that_fits_in_every_claim_is_taken() {
    let server = Server::empty();
    let sound = [
        json!({}),
        json!({ "sub": "0" }),
        json!({ "sub": "18446744073709551615" }),
        json!({ "exp": now_s() - 10 }),
        json!({ "aud": ["elsewhere", "doorbuster"] }),
        json!({ "role": "shopper" }),
        json!({ "role": "operator" }),
        json!({ "name": "what others put in", "nbf": now_s() + 10 }),
    ];
    for changes in sound {
        let reply = server.stranger(get("/v1/activities").token(&signed(SECRET, changes.clone())));
        assert_eq!(reply.status, 200, "{changes}: {}", reply.text());
    }
    let faulty = [
        json!({ "sub": null }),
        json!({ "exp": null }),
        json!({ "iss": null }),
        json!({ "aud": null }),
        json!({ "sub": 42 }),
        json!({ "sub": "" }),
        json!({ "sub": "alice" }),
        json!({ "sub": "-1" }),
        json!({ "sub": "+1" }),
        json!({ "sub": "007" }),
        json!({ "sub": " 42" }),
        json!({ "sub": "4e2" }),
        json!({ "sub": "18446744073709551616" }),
        json!({ "exp": now_s() - 40 }),
        json!({ "exp": "tomorrow" }),
        json!({ "exp": 0 }),
        json!({ "exp": -1 }),
        json!({ "nbf": now_s() + 600 }),
        json!({ "iss": "else" }),
        json!({ "iss": "Doorbuster" }),
        json!({ "aud": "else" }),
        json!({ "aud": [] }),
        json!({ "role": "admin" }),
        json!({ "role": "Operator" }),
        json!({ "role": ["operator"] }),
        json!({ "role": "" }),
    ];
    for changes in faulty {
        let reply = server.stranger(get("/v1/activities").token(&signed(SECRET, changes.clone())));
        assert_eq!(reply.status, 401, "{changes}: {}", reply.text());
        reply.problem(401, "unauthenticated");
    }
}

#[test]
fn no_algorithm_but_the_pinned_one_and_no_key_but_ours() {
    let server = Server::empty();
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let sound = signed(SECRET, json!({}));
    let tokens = [
        unsigned("none", ""),
        unsigned("None", ""),
        unsigned("none", "c2ln"),
        unsigned("HS256", ""),
        signed(OTHER, json!({})),
        encode(&Header::new(Algorithm::HS384), &claims(json!({})), &key).expect("HS384 signs"),
        encode(&Header::new(Algorithm::HS512), &claims(json!({})), &key).expect("HS512 signs"),
        sound[..sound.len() - 2].to_owned(),
        format!("{sound}x"),
        format!("{sound}.x"),
        sound.replace('.', ""),
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "\u{e9}.\u{e9}.\u{e9}".to_owned(),
        "x".repeat(10_000),
    ];
    for token in tokens {
        server.stranger(get("/v1/activities").token(&token)).problem(401, "unauthenticated");
        connect(server.operator).ask(&get("/admin/v1/activities").token(&token)).problem(401, "unauthenticated");
    }
}

#[test]
fn the_token_comes_in_one_header_of_the_bearer_scheme() {
    let server = Server::empty();
    let token = signed(SECRET, json!({}));
    let asked = |request: Request| server.stranger(request);
    for header in ["", "Bearer", "Bearer ", &token, &format!("Basic {token}"), &format!("Bearer{token}")] {
        asked(get("/v1/activities").header("Authorization", header)).problem(401, "unauthenticated");
    }
    asked(get("/v1/activities")).problem(401, "unauthenticated");
    asked(get("/v1/activities").token(&token).token(&token)).problem(401, "unauthenticated");
    asked(get(&format!("/v1/activities?access_token={token}"))).problem(401, "unauthenticated");
    asked(get("/v1/activities").header("authorization", &format!("bearer {token}"))).ok(200);
    // Without a token: only what load balancers ask.
    asked(get("/healthz")).ok(200);
    asked(get("/readyz")).ok(200);
}

#[test]
fn every_route_asks_for_a_token() {
    let server = Server::selling(1);
    for path in ["/v1/activities", "/v1/activities/1001", ORDERS, "/v1/flash-sales/1001/result", "/v1/orders/1"] {
        server.stranger(get(path)).problem(401, "unauthenticated");
    }
    for path in [ORDERS, "/v1/orders/1/cancel"] {
        server.stranger(post(path).text("{")).problem(401, "unauthenticated");
    }
}

#[test]
fn the_previous_secret_still_checks_and_no_third_one_does() {
    let toml = "[auth]\nsecret = 'another secret of the tests, 32 bytes or more'\n\
                previous_secret = 'a secret of the tests, 32 bytes or more'\n";
    let server = Server::start(Settings { toml, ..Settings::default() });
    for (secret, status) in [(SECRET, 200), (OTHER, 200), ("a third one, which is 32 bytes long or longer", 401)] {
        let reply = server.stranger(get("/v1/activities").token(&signed(secret, json!({}))));
        assert_eq!(reply.status, status, "{secret}");
    }
    for secret in [SECRET, OTHER] {
        let reply = server.stranger(get("/v1/activities").token(&signed(secret, json!({ "exp": now_s() - 99 }))));
        reply.problem(401, "unauthenticated");
    }
}

#[test]
fn public_keys_check_their_own_algorithm_only() {
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/keys");
    let ed = EncodingKey::from_ed_pem(include_bytes!("http/keys/ed25519.pem")).expect("a key");
    let rs = EncodingKey::from_rsa_pem(include_bytes!("http/keys/rs256.pem")).expect("a key");
    let es = EncodingKey::from_ec_pem(include_bytes!("http/keys/es256.pem")).expect("a key");
    let by = |algorithm, key: &EncodingKey| encode(&Header::new(algorithm), &claims(json!({})), key).expect("it signs");
    let tokens = [
        ("EdDSA", by(Algorithm::EdDSA, &ed)),
        ("RS256", by(Algorithm::RS256, &rs)),
        ("ES256", by(Algorithm::ES256, &es)),
    ];
    for (name, file) in [("EdDSA", "ed25519"), ("RS256", "rs256"), ("ES256", "es256")] {
        let toml = format!("[auth]\nalgorithm = '{name}'\npublic_key_file = '{keys}/{file}.pub.pem'\n");
        let server = Server::start(Settings { toml: toml.leak(), ..Settings::default() });
        for (signer, token) in &tokens {
            let reply = server.stranger(get("/v1/activities").token(token));
            assert_eq!(reply.status, if *signer == name { 200 } else { 401 }, "{signer} where {name} is pinned");
        }
        // The old trick: the public key, which is no secret, taken for a shared one.
        let public = std::fs::read(format!("{keys}/{file}.pub.pem")).expect("a file");
        let forged = by(Algorithm::HS256, &EncodingKey::from_secret(&public));
        server.stranger(get("/v1/activities").token(&forged)).problem(401, "unauthenticated");
    }
}

#[test]
fn each_role_does_on_the_operator_listener_what_it_may() {
    let server = Server::selling(5);
    let order_id =
        server.shopper(7, post(ORDERS).json(&wish(1))).ok(201)["order_id"].as_str().expect("an id").to_owned();
    server.operator(put(RAIN, &rain(5, 1_000))).ok(201);
    let reads = [
        "/admin/v1/activities".to_owned(),
        SALE.to_owned(),
        format!("{SALE}/stats"),
        format!("{SALE}/orders"),
        format!("{RAIN}/grabs"),
        format!("/admin/v1/orders/{order_id}"),
    ];
    let writes = [
        put(SALE, &sale(9)),
        post(&format!("{SALE}/stock")).json(&json!({ "sku_id": "2001", "add": 1 })),
        post(&format!("{SALE}/pause")),
        post(&format!("{SALE}/resume")),
        post(&format!("{SALE}/reload")),
        post("/admin/v1/reload"),
        post(&format!("{SALE}/close")),
    ];
    let ask = |role, request: Request| connect(server.operator).ask(&request.token(&server.token(1, role)));
    for role in [None, Some("shopper"), Some("merchant"), Some("auditor")] {
        for path in &reads {
            let reply = ask(role, get(path));
            if role == Some("auditor") {
                reply.ok(200)
            } else if role == Some("merchant") && path == "/admin/v1/activities" {
                // It has made none.
                assert_eq!(reply.ok(200)["activities"], json!([]));
                continue;
            } else {
                reply.problem(403, "forbidden")
            };
        }
        for request in &writes {
            ask(role, request.clone()).problem(403, "forbidden");
        }
    }
    assert_eq!(server.operator(get(SALE)).ok(200)["version"], 1, "nothing was changed");
    for request in writes {
        let status = ask(Some("operator"), request.clone()).status;
        assert!(matches!(status, 200 | 404), "{status} for {request:?}: only the catalogue lacks it");
    }
    // Every role may buy: an operator is a person, too.
    let server = Server::selling(5);
    for (user, role) in [(1, "operator"), (2, "auditor"), (3, "merchant")] {
        let token = server.token(user, Some(role));
        server.stranger(post(ORDERS).token(&token).json(&wish(1))).ok(201);
    }
}
