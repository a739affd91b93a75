//! What people get to read when a configuration or a catalogue is wrong: file, line, key, fault and mend, all of them
//! at once. Tables of bad text and what must be said of it.

use std::fs;
use std::path::Path;

use doorbuster::catalog;
use doorbuster::cli::{check, token};
use doorbuster::config::{self, Catalog, Config, Keys, Limits};
use doorbuster::faults::{At, Fault};
use doorbuster::ids::{UnixMillis, UserId};

const SAMPLE_CONFIG: &str = include_str!("../samples/doorbuster.toml");
const SAMPLE_ACTIVITY: &str = include_str!("../samples/catalog/1001.toml");
const SECRET: &str = "hunter2-hunter2-hunter2-hunter2-hunter2";
const NO_ENVIRONMENT: [(&str, &str); 0] = [];

/// `line key: what`, for comparison; of a variable its name in place of the line.
fn told(faults: Vec<Fault>) -> Vec<String> {
    let told = |fault: Fault| {
        assert!(!fault.mend.is_empty(), "{fault} has a mend");
        let place = fault.place();
        format!("{} {}: {}", place.rsplit(':').next().expect("a place"), fault.path, fault.what)
    };
    faults.into_iter().map(told).collect()
}

fn activity_faults(text: &str) -> Vec<String> {
    told(catalog::read_toml(text, Path::new("7.toml")).expect_err("a fault"))
}

fn config_faults(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    told(config::parse(text, Path::new("d.toml"), environment.iter().copied()).expect_err("a fault"))
}

fn sound_config(text: &str, environment: &[(&str, &str)]) -> Config {
    let read = config::parse(text, Path::new("etc/d.toml"), environment.iter().copied());
    read.unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// The sample activity with `from` replaced; the replacement must happen.
fn altered(from: &str, to: &str) -> String {
    assert!(SAMPLE_ACTIVITY.contains(from), "the sample has {from:?}");
    SAMPLE_ACTIVITY.replace(from, to)
}

#[test]
fn each_fault_of_an_activity_is_told_with_its_line() {
    const START: &str = "\"2025-01-01T00:00:00+08:00\"";
    for (from, to, expected) in [
        ("kind = \"flash_sale\"", "", "1 kind: is missing"),
        ("\"flash_sale\"", "\"lucky_draw\"", "2 kind: \"lucky_draw\" is not known here"),
        ("\"flash_sale\"", "\"flash-sale\"", "2 kind: \"flash-sale\" is not known here"),
        ("\"flash_sale\"", "7", "2 kind: must be text, is an integer"),
        ("\"Doorbuster phones\"", "\" \"", "3 title: is empty"),
        ("\"Doorbuster phones\"", "\"a\\nb\"", "3 title: holds a control character"),
        ("\"CNY\"", "\"cny\"", "4 currency: must be three capital letters"),
        (START, "\"2025-01-01T00:00:00\"", "5 starts_at: has no offset from UTC, so it names no instant"),
        (START, "2025-01-01T00:00:00", "5 starts_at: has no offset from UTC, so it names no instant"),
        (START, "2025-01-01", "5 starts_at: is a date without a time"),
        (START, "\"soon\"", "5 starts_at: is not a time as RFC 3339 writes it"),
        (START, "1735660800000", "5 starts_at: must be text, is an integer"),
        ("2035-", "2025-", "6 ends_at: must be after starts_at"),
        ("shards = 1 ", "shards = 257 ", "7 shards: must be from 1 to 256"),
        ("per_user_limit = 1 ", "per_user_limit = 0 ", "8 per_user_limit: must be from 1 to 10000"),
        ("payment_window_s = 300", "payment_window_s = 2592001", "9 payment_window_s: must be from 1 to 2592000"),
        ("\"reacquire_or_refund\"", "\"keep\"", "10 on_late_payment: \"keep\" is not known here"),
        ("shared_sku = false", "shared_sku = 0", "11 shared_sku: must be true or false, is an integer"),
        ("sku_id = \"2001\"", "sku_id = 2001", "14 skus[0].sku_id: must be text, is an integer"),
        ("sku_id = \"2001\"", "sku_id = \"a b\"", "14 skus[0].sku_id: must be 1 to 64 of A-Z a-z 0-9 . _ -"),
        ("sku_id = \"2001\"", "", "13 skus[0].sku_id: is missing"),
        ("price_cents", "price_cent", "16 skus[0].price_cent: is not a known name"),
        ("199900", "-1", "16 skus[0].price_cents: must be from 0 to 1000000000000"),
        ("199900", "9007199254740993", "16 skus[0].price_cents: must be from 0 to 1000000000000"),
        (
            "199900",
            "1999.00",
            "16 skus[0].price_cents: must be an integer from 0 to 1000000000000, is a number with a fraction",
        ),
        ("stock = 1000", "stock = \"1000\"", "17 skus[0].stock: must be an integer from 0 to 100000000, is text"),
        ("stock = 1000", "stock = many", "17 : is not TOML: string values must be quoted, expected literal string"),
        ("stock = 1000", "stock = 1\nstock = 2", "18 : is not TOML: duplicate key"),
    ] {
        let faults = activity_faults(&altered(from, to));
        assert!(faults.iter().any(|fault| fault == expected), "{from} -> {to}\nexpected {expected}\ntold {faults:#?}");
    }
}

#[test]
fn all_faults_of_an_activity_are_told_at_once_in_the_order_of_their_lines() {
    let text = altered("\"CNY\"", "7").replace("payment_window_s", "payment_window").replace("stock = 1000", "")
        + "[[skus]]\nsku_id = \"2001\"\ntitle = \"t\"\nprice_cents = 1\nstock = 0\ncolour = \"red\"\n";
    assert_eq!(
        activity_faults(&text),
        [
            "4 currency: must be text, is an integer",
            "9 payment_window: is not a known name",
            "13 skus[0].stock: is missing",
            "19 skus[1].sku_id: 2001 stands in an earlier entry too",
            "23 skus[1].colour: is not a known name",
        ]
    );
}

#[test]
fn a_budget_that_cannot_be_split_is_told_the_nearest_that_could() {
    let rain = include_str!("../samples/rain/1002.toml");
    let number = |field: &str| {
        let line = rain.lines().find(|line| line.starts_with(field)).expect("the sample has it");
        line.split(['=', '#']).nth(1).expect("a value").trim().parse::<u64>().expect("a number")
    };
    let (packets, total) = (number("packets"), format!("total_cents = {}", number("total_cents")));
    let (least, most) = (packets * number("min_cents"), packets * number("max_cents"));
    assert!(rain.contains(&total));
    for (cents, mend) in
        [(least - 1, format!("at least {least} would do")), (most + 1, format!("at most {most} would do"))]
    {
        let text = rain.replacen(&total, &format!("total_cents = {cents}"), 1);
        let faults = catalog::read_toml(&text, Path::new("7.toml")).expect_err("it cannot be split");
        assert_eq!((faults.len(), faults[0].path.as_str()), (1, "rounds[0].total_cents"), "{faults:?}");
        assert!(faults[0].mend.starts_with(&mend) && faults[0].place().starts_with("7.toml:"), "{faults:?}");
    }
}

#[test]
fn an_activity_needs_something_to_sell_though_not_in_stock() {
    let (head, _) = SAMPLE_ACTIVITY.split_once("[[skus]]").expect("the sample has a SKU");
    let many = "{ sku_id = \"x\", title = \"t\", price_cents = 1, stock = 1 },".repeat(201);
    for (skus, expected) in [
        ("", "1 skus: is missing"),
        ("skus = []", "13 skus: is empty"),
        ("skus = [7]", "13 skus[0]: must be a table of named fields, is an integer"),
        (&format!("skus = [{many}]"), "13 skus: must be at most 200, are 201"),
    ] {
        assert_eq!(activity_faults(&format!("{head}{skus}")), [expected]);
    }
    assert!(catalog::read_toml(&altered("stock = 1000", "stock = 0"), Path::new("7.toml")).is_ok());
}

#[test]
fn a_definition_in_json_is_read_by_the_same_rules() {
    let sound = catalog::read_toml(SAMPLE_ACTIVITY, Path::new("1001.toml")).expect("the sample is sound");
    let mut json = catalog::to_json(&sound);
    json["starts_at"] = "2025-01-01".into();
    json["skus"][0]["stock"] = serde_json::Value::Null;
    json["sku"] = 1.into();
    let faults = catalog::read_value(&json).expect_err("faults");
    let expected = serde_json::json!([
        {"path": "starts_at", "what": "is a date without a time", "mend": "write a time such as 2026-11-11T00:00:00+08:00"},
        {"path": "skus[0].stock", "what": "must be an integer from 0 to 100000000, is null",
         "mend": "write digits only, without quotes"},
        {"path": "sku", "what": "is not a known name", "mend": "did you mean skus?"},
    ]);
    assert_eq!(serde_json::to_value(&faults).expect("JSON"), expected);

    let twice = catalog::parse_json(br#"{"kind":"flash_sale","kind":"flash_sale"}"#).expect("JSON");
    let faults = catalog::read(&twice).expect_err("faults");
    assert_eq!((faults[0].path.as_str(), faults[0].what.as_str()), ("kind", "is given more than once"));
    assert!(catalog::parse_json(b"{").is_err());
}

#[test]
fn whatever_stands_at_one_place_is_read_or_told() {
    for (place, old) in SAMPLE_ACTIVITY.char_indices() {
        for new in ["", "\"", "=", "[", "\n", "9", ".", "é"] {
            let text = format!("{}{new}{}", &SAMPLE_ACTIVITY[..place], &SAMPLE_ACTIVITY[place + old.len_utf8()..]);
            match catalog::read_toml(&text, Path::new("7.toml")) {
                Ok(read) => assert_eq!(catalog::read_value(&catalog::to_json(&read)), Ok(read)),
                Err(faults) => {
                    assert!(faults.iter().all(|fault| matches!(fault.at, At::Line(_))), "{text}\n{faults:?}")
                }
            }
        }
    }
}

#[test]
fn each_fault_of_a_configuration_is_told_with_its_line() {
    let sound_auth = format!("[auth]\nsecret = \"{SECRET}\"\n");
    for (text, expected) in [
        ("", "1 auth.secret: is missing"),
        ("[auth]\nsecret = \"short\"", "2 auth.secret: must be at least 32 bytes, is 5"),
        ("[auth]\nsecret = 7", "2 auth.secret: must be text, is an integer"),
        ("[auth]\nsecret = \"a\"\nsecret_file = \"b\"", "3 auth.secret_file: and secret are both given"),
        ("[auth]\nalgorithm = \"none\"", "2 auth.algorithm: \"none\" is not known here"),
        ("[auth]\nalgorithm = \"EdDSA\"", "1 auth.public_key_file: is missing"),
        ("[auth]\nalgorithm = \"ES256\"\nsecret = \"x\"", "3 auth.secret: is not used with ES256"),
        ("[auth]\npublic_key_file = \"x\"", "2 auth.public_key_file: is not used with HS256"),
        ("[auth]\nissuer = \"\"", "2 auth.issuer: is empty"),
        ("[auth]\nleeway_s = 601", "2 auth.leeway_s: must be from 0 to 600"),
        ("auth = 3", "1 auth: must be a table of named fields, is an integer"),
        ("data_dir = \"\"", "1 data_dir: is empty"),
        ("data-dir = \"x\"", "1 data-dir: is not a known name"),
        ("[shoper]", "1 shoper: is not a known name"),
        ("[shopper]\nlisten = \"localhost:80\"", "2 shopper.listen: \"localhost:80\" is not an address with a port"),
        ("[shopper]\nlisten = \"0.0.0.0:8081\"", "1 operator.listen: is the shopper's address too"),
        (
            "[shopper]\ncors_origins = [\"https://a.b/\"]",
            "2 shopper.cors_origins: \"https://a.b/\" is not an origin as a browser sends it",
        ),
        ("[shopper]\ncors_origins = [\"*\"]", "2 shopper.cors_origins: \"*\" is not an origin as a browser sends it"),
        (
            "[journal]\ndurability = \"async\"",
            "2 journal.durability: durability \"async\" is not available in this version",
        ),
        ("[journal]\nmin_free_bytes = -1", "2 journal.min_free_bytes: must be from 0 to 9007199254740991"),
        ("[catalog]\nsource = \"mysql\"", "2 catalog.source: \"mysql\" needs [mysql]"),
        ("[catalog]\nsource = \"sql\"", "2 catalog.source: \"sql\" is not known here"),
        ("[catalog]\nsource = \"dir\"\ndir = \"\"", "3 catalog.dir: is empty"),
        ("[catalog]\nsource = \"mysql\"\ndir = \"catalog\"", "3 catalog.dir: is not used with source = \"mysql\""),
        ("[mysql]\nurl = \"x\"", "2 mysql.url: does not begin with mysql://"),
        ("[mysql]\nurl = \"mysql://root@127.0.0.1:3306\"", "2 mysql.url: names no database"),
        ("[mysql]\nbacklog_events_max = 5", "1 mysql.url: is missing"),
        (
            "[mysql]\nurl = \"mysql://h/d\"\nbacklog_events_max = 0",
            "3 mysql.backlog_events_max: must be from 1 to 9007199254740991",
        ),
        ("[payments]\nsecret = \"x\"", "2 payments.secret: must be at least 32 bytes, is 1"),
        ("[payments]\ntolerance_s = 300", "1 payments.secret: is missing"),
        (
            "[payments]\nsecret = \"0123456789abcdef0123456789abcdef\"\ntolerance_s = 0",
            "3 payments.tolerance_s: must be from 1 to 86400",
        ),
        (
            "[payments]\nsecret = \"0123456789abcdef0123456789abcdef\"\nsecret_file = \"x\"",
            "3 payments.secret_file: and secret are both given",
        ),
        (
            "[payments]\nsecret = \"0123456789abcdef0123456789abcdef\"\nprevious_secret = \"\"",
            "3 payments.previous_secret: must be at least 32 bytes, is 0",
        ),
        ("[limits]\nbacklog = \"many\"", "2 limits.backlog: must be an integer from 16 to 65535, is text"),
        ("[limits]\nworkers = -1", "2 limits.workers: must be from 0 to 1024"),
        ("[limits]\nkeep_alive = 75", "2 limits.keep_alive: is not a known name"),
        ("[log]\nformat = \"xml\"", "2 log.format: \"xml\" is not known here"),
        ("[log]\n= 3", "2 : is not TOML: unquoted keys cannot be empty, expected letters, numbers, `-`, `_`"),
    ] {
        let whole = text.contains("auth") || text.is_empty();
        let text = if whole { text.to_owned() } else { format!("{text}\n{sound_auth}") };
        let faults = config_faults(&text, &[]);
        assert!(faults.iter().any(|fault| fault == expected), "{text}\nexpected {expected}\ntold {faults:#?}");
    }
}

#[test]
fn the_catalogue_is_where_the_configuration_says() {
    let mysql = "[mysql]\nurl = \"mysql://u@127.0.0.1/d\"\n";
    for (catalog, expected) in [
        ("", Catalog::Dir("etc/catalog".into())),
        ("[catalog]\nsource = \"dir\"\n", Catalog::Dir("etc/catalog".into())),
        ("[catalog]\nsource = \"dir\"\ndir = \"x\"\n", Catalog::Dir("etc/x".into())),
        ("[catalog]\nsource = \"mysql\"\n", Catalog::Mysql),
    ] {
        let config = sound_config(&format!("[auth]\nsecret = \"{SECRET}\"\n{catalog}{mysql}"), &[]);
        assert_eq!(config.catalog, expected, "{catalog}");
    }
}

#[test]
fn check_says_why_it_could_not_look_at_a_table() {
    // Nobody listens at port 1; and what is said names no password.
    let tail = "[catalog]\nsource = \"mysql\"\n[mysql]\nurl = \"mysql://u:hunter2@127.0.0.1:1/d\"\n";
    let (code, text) = checked(&format!("[auth]\nsecret = \"{SECRET}\"\n{tail}"), &[]);
    assert_eq!(code, 2, "{text}");
    assert!(text.starts_with("the catalogue in MySQL at 127.0.0.1:1/d cannot be read: connecting: "), "{text}");
    assert!(text.ends_with("\nnot judged: d.toml is sound, the catalogue was not looked at\n"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let (code, text) = checked(tail, &[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.ends_with("\nfaulty: 1 fault; the catalogue was not looked at\n"), "{text}");
}

#[test]
fn a_suggestion_names_the_key_that_was_meant() {
    for (text, expected) in [
        ("data-dir = \"x\"", "did you mean data_dir?"),
        ("limits.keep_alive = 75", "did you mean keep_alive_s?"),
        ("auth.secert = \"x\"", "did you mean secret?"),
        ("auth.algorithm = \"HS265\"", "did you mean \"HS256\"?"),
    ] {
        let faults = config::parse(text, Path::new("d.toml"), NO_ENVIRONMENT).expect_err("a fault");
        assert!(faults.iter().any(|fault| fault.mend == expected), "{text}: {faults:?}");
    }
}

#[test]
fn the_environment_replaces_what_the_file_says() {
    let environment = [
        ("DOORBUSTER_DATA_DIR", "state"),
        ("DOORBUSTER_SHOPPER__LISTEN", "0.0.0.0:80"),
        ("DOORBUSTER_SHOPPER__CORS_ORIGINS", "https://a.example, https://b.example:8443"),
        ("DOORBUSTER_LIMITS__WORKERS", "3"),
        ("DOORBUSTER_AUTH__SECRET", SECRET),
        // What is not ours, even where it looks alike.
        ("PATH", "bin"),
        ("DOORBUSTER_PORT", "tcp://10.0.0.1:8080"),
        ("DOORBUSTER_SHOPPER_SERVICE_HOST", "10.0.0.1"),
    ];
    let config = sound_config(SAMPLE_CONFIG, &environment);
    assert_eq!(config.data_dir, Path::new("etc/state"));
    assert_eq!(config.shopper.listen.to_string(), "0.0.0.0:80");
    assert_eq!(config.shopper.cors_origins, ["https://a.example", "https://b.example:8443"]);
    assert_eq!(config.limits.workers, 3);
    let Keys::Shared { secret, .. } = config.auth.keys else { panic!("HS256 shares a secret") };
    assert_eq!(secret.expose(), SECRET.as_bytes());
    assert!(config::parse("", Path::new("d.toml"), environment).is_ok(), "the file may be empty");
}

#[test]
fn a_fault_of_the_environment_names_the_variable() {
    for (name, value, expected) in [
        ("DOORBUSTER_LIMITS__WORKERS", "many", "limits.workers: must be an integer from 0 to 1024, is other text"),
        ("DOORBUSTER_AUTH__SECRET", "short", "auth.secret: must be at least 32 bytes, is 5"),
        ("DOORBUSTER_AUTH__SECERT", SECRET, "auth.secert: is not a known name"),
        ("DOORBUSTER_ATUH__SECRET", SECRET, "atuh: is not a known name"),
        ("DOORBUSTER_AUTH_SECRET", SECRET, ": is not a known variable"),
        ("DOORBUSTER_DATADIR", "x", ": is not a known variable"),
        ("DOORBUSTER_MYSQL__URL", "x", "mysql.url: does not begin with mysql://"),
        ("DOORBUSTER_CATALOG__SOURCE", "sql", "catalog.source: \"sql\" is not known here"),
    ] {
        assert_eq!(config_faults(SAMPLE_CONFIG, &[(name, value)]), [format!("{name} {expected}")]);
    }
    assert_eq!(
        config_faults("", &[("DOORBUSTER_AUTH__ISSUER", "x")]),
        ["1 auth.secret: is missing"],
        "what a variable did not say is not its fault"
    );
}

#[test]
fn secrets_come_from_files_and_stay_out_of_every_message() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("jwt.secret"), format!("{SECRET}\n")).expect("a file");
    fs::write(dir.path().join("short"), "hunter2\n").expect("a file");
    let file = dir.path().join("d.toml");

    let config = config::parse("[auth]\nsecret_file = \"jwt.secret\"", &file, NO_ENVIRONMENT).expect("sound");
    let Keys::Shared { secret, .. } = &config.auth.keys else { panic!("HS256 shares a secret") };
    assert_eq!(secret.expose(), SECRET.as_bytes(), "without the line break");
    assert!(!format!("{config:?}").contains("hunter2"));

    let environment = [("DOORBUSTER_AUTH__SECRET_FILE", "jwt.secret")];
    assert!(config::parse(SAMPLE_CONFIG, &file, environment).is_ok(), "it replaces the secret in the text");

    for text in [
        "[auth]\nsecret = [\"hunter2\"]",
        "[auth]\nsecret = \"hunter2\"",
        "[auth]\nsecret = \"hunter2",
        "[auth]\nsecret = hunter2",
        "[auth]\nsecret = hunter2 = 7",
        "[auth]\nsecret_file = \"short\"",
        "[auth]\nsecret_file = \"gone\"",
        &format!("[auth]\nsecret = \"{SECRET}\"\nprevious_secret = \"hunter2\""),
        &format!("[auth]\nsecret = \"{SECRET}\"\nsecret = \"{SECRET}\""),
    ] {
        let faults = config::parse(text, &file, NO_ENVIRONMENT).expect_err("a fault");
        assert!(!format!("{faults:?}").contains("hunter2"), "{faults:?}");
    }
}

#[test]
fn a_public_key_must_be_public_and_of_its_algorithm() {
    // The example of RFC 8410, section 10.1.
    const ED25519: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";
    const P256: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEyxychxxD0IKL93HmEw9irTsG38d1\n\
        b+gZ7HD8ZrKk0KqdSfly7HN/gl6Vmd5NK36Y8xVc8dz25uiTfogsQZeUxg==\n\
        -----END PUBLIC KEY-----\n";
    const P384: &str = "-----BEGIN PUBLIC KEY-----\n\
        MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEqKDEIQ3WvomjT8lLO87/1tX/rPB8dKCM\n\
        Hj2LVOTwmAQjib6Rrs58Eq9chGzY/DakIzh69J4I3QGrERYY0yP2SGjymOw73+cx\n\
        u/dK2ix6lTfMY7IHyquk68dpf1pXxRaJ\n\
        -----END PUBLIC KEY-----\n";
    let dir = tempfile::tempdir().expect("a directory");
    let read = |algorithm: &str, pem: &str| {
        fs::write(dir.path().join("key.pem"), pem).expect("a file");
        let text = format!("[auth]\nalgorithm = \"{algorithm}\"\npublic_key_file = \"key.pem\"\n");
        config::parse(&text, &dir.path().join("d.toml"), NO_ENVIRONMENT)
    };
    for (algorithm, pem) in [("EdDSA", ED25519), ("ES256", P256)] {
        let keys = read(algorithm, pem).expect("sound").auth.keys;
        assert!(matches!(keys, Keys::Public { algorithm: read, .. } if read.name() == algorithm));
    }
    for (algorithm, pem, expected) in [
        ("ES256", ED25519, "holds no public key for ES256"),
        ("ES256", P384, "holds no public key for ES256"),
        ("RS256", ED25519, "holds no public key for RS256"),
        ("RS256", "", "holds no public key for RS256"),
        ("EdDSA", "-----BEGIN PRIVATE KEY-----\n", "holds a private key"),
    ] {
        let faults = told(read(algorithm, pem).expect_err("a fault"));
        assert_eq!(faults, [format!("3 auth.public_key_file: {expected}")]);
    }
}

#[test]
fn the_sample_says_every_key_and_its_default() {
    let sample = sound_config(SAMPLE_CONFIG, &[]);
    let bare = sound_config(&format!("[auth]\nsecret = \"{SECRET}\"\n[payments]\nsecret = \"{SECRET}\""), &[]);
    assert_eq!(format!("{sample:?}"), format!("{bare:?}"), "secrets print alike, all else is equal");
    assert_eq!(bare.limits, Limits::default());
    assert_eq!(bare.data_dir, Path::new("etc/data"), "beside the file");

    // Whatever key the reader knows, the sample shows: an unknown name makes it list them.
    for section in
        ["", "shopper.", "operator.", "auth.", "journal.", "catalog.", "mysql.", "payments.", "limits.", "log."]
    {
        let read = config::parse(&format!("{section}zzzzzz = 1"), Path::new("d.toml"), NO_ENVIRONMENT);
        let faults = read.expect_err("a fault");
        let unknown = faults.iter().find(|fault| fault.path.ends_with("zzzzzz")).expect("the unknown key");
        let (_, known) = unknown.mend.split_once("known here: ").expect("the known keys");
        for key in known.split(", ").filter(|key| *key != "mysql") {
            assert!(SAMPLE_CONFIG.contains(key), "the sample shows {section}{key}");
        }
    }
}

/// Writes a configuration beside a catalogue and gives what `check` prints of them, the directory's name left out.
fn checked(config: &str, activities: &[(&str, &str)]) -> (u8, String) {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("catalog")).expect("a directory");
    fs::write(dir.path().join("d.toml"), config).expect("a file");
    for (name, text) in activities {
        fs::write(dir.path().join("catalog").join(name), text).expect("a file");
    }
    let mut out = Vec::new();
    let code = check::run(&dir.path().join("d.toml"), NO_ENVIRONMENT, &mut out).expect("memory takes all");
    let text = String::from_utf8(out).expect("UTF-8");
    (code, text.replace(&format!("{}/", dir.path().display()), ""))
}

#[test]
fn check_finds_the_samples_sound() {
    let (code, text) = checked(SAMPLE_CONFIG, &[("1001.toml", SAMPLE_ACTIVITY)]);
    assert_eq!((code, text.as_str()), (0, "sound: d.toml and 1 activity\n"));
}

#[test]
fn check_tells_the_faults_of_all_files_at_once() {
    let bad = altered("199900", "-1");
    let (code, text) = checked("", &[("1001.toml", SAMPLE_ACTIVITY), ("1002.toml", &bad), ("x.toml", "")]);
    assert_eq!(code, 1);
    let expected = "\
d.toml:1: auth.secret: is missing
    mend: set it, secret_file or DOORBUSTER_AUTH__SECRET to at least 32 random bytes
catalog/x.toml: \"x\" is no activity id: it must be a decimal number
    mend: name the file <activity_id>.toml, such as 1001.toml
catalog/1002.toml:16: skus[0].price_cents: must be from 0 to 1000000000000
    mend: write a number within these bounds
faulty: 3 faults; 1 activity sound
";
    assert_eq!(text, expected);
}

#[test]
fn check_tells_of_a_sku_that_two_activities_sell_at_one_time() {
    let shared = altered("shared_sku = false", "shared_sku = true");
    let (code, text) = checked(SAMPLE_CONFIG, &[("1001.toml", SAMPLE_ACTIVITY), ("1002.toml", &shared)]);
    assert_eq!(code, 1);
    assert!(text.starts_with("catalog/1002.toml:14: skus: 2001 stands in catalog/1001.toml too, and"), "{text}");
    let (code, _) = checked(SAMPLE_CONFIG, &[("1001.toml", &shared), ("1002.toml", &shared)]);
    assert_eq!(code, 0, "both say that it is shared");
}

#[test]
fn check_without_a_file_or_a_catalogue_says_so() {
    let mut out = Vec::new();
    let code = check::run(Path::new("nowhere.toml"), NO_ENVIRONMENT, &mut out).expect("memory takes all");
    let text = String::from_utf8(out).expect("UTF-8");
    assert_eq!(code, 1);
    assert!(text.starts_with("nowhere.toml: cannot be read: "), "{text}");
    assert!(text.ends_with("faulty: 1 fault; the catalogue was not looked at\n"), "{text}");

    let (code, text) = checked(&SAMPLE_CONFIG.replace("dir = \"catalog\"", "dir = \"gone\""), &[]);
    assert_eq!(code, 1);
    assert!(text.starts_with("gone: the catalogue cannot be read: "), "{text}");
}

#[test]
fn token_prints_a_token_or_says_why_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("d.toml");
    let mint = |text: &str| {
        fs::write(&file, text).expect("a file");
        let ask = token::Ask { user: UserId(42), role: None, ttl: token::parse_ttl("1h").expect("a life") };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = token::run(&file, NO_ENVIRONMENT, ask, UnixMillis(0), &mut out, &mut err).expect("memory takes all");
        (code, String::from_utf8(out).expect("UTF-8"), String::from_utf8(err).expect("UTF-8"))
    };
    let (code, out, err) = mint(SAMPLE_CONFIG);
    assert_eq!((code, out.matches('.').count(), err.as_str()), (0, 2, ""));
    let (code, out, err) = mint("");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("auth.secret: is missing"), "{err}");
}
