//! Looking grabs up, as support does: pages of all and of one user's, in memory and after the rain has left it.

mod http;

use http::packets::{GRABS, RAIN, grab, rain_with, raining};
use http::{NOW_MS, SALE, Server, Settings, connect, get, post, put, sale};
use serde_json::{Value, json};

fn look_up(server: &Server, query: &str) -> (Vec<Value>, Option<String>) {
    let page = server.operator(get(&format!("{RAIN}/grabs{query}"))).ok(200);
    (page["grabs"].as_array().expect("a list").clone(), page["next_cursor"].as_str().map(str::to_owned))
}

/// All of them, `limit` at a time.
fn read_through(server: &Server, limit: usize) -> Vec<Value> {
    let (mut grabs, mut next) = look_up(server, &format!("?limit={limit}"));
    while let Some(cursor) = next {
        let (page, after) = look_up(server, &format!("?limit={limit}&cursor={cursor}"));
        assert!(page.len() <= limit);
        (grabs, next) = ([grabs, page].concat(), after);
    }
    grabs
}

#[test]
fn each_grab_is_found_once_with_whose_it_is() {
    for fields in [json!({}), json!({ "shards": 4 })] {
        let server = raining(40, 4_000, fields);
        let granted: Vec<Value> = (1..=30).map(|user| grab(&server, user).ok(201)).collect();
        let (all, next) = look_up(&server, "");
        assert_eq!((all.len(), next), (30, None));
        let id = |grab: &Value| grab["grab_id"].as_str().expect("an id").parse::<u64>().expect("a number");
        assert!(all.is_sorted_by_key(id), "part after part, the oldest first");
        for (user, first) in (1..).zip(&granted) {
            let mut expected = first.clone();
            expected["user_id"] = json!(u64::to_string(&user));
            assert!(all.contains(&expected), "{expected}");
            assert_eq!(look_up(&server, &format!("?user_id={user}")), (vec![expected], None));
        }
        assert_eq!(look_up(&server, "?user_id=31"), (vec![], None));
        for limit in [1, 7, 30] {
            assert_eq!(read_through(&server, limit), all, "by {limit}");
        }
        server.stop_and_audit();
    }
}

#[test]
fn a_users_grabs_of_several_rounds_come_a_page_at_a_time() {
    let server = raining(40, 4_000, json!({ "shards": 4, "per_user_limit": 3 }));
    for user in [7, 7, 8, 7] {
        grab(&server, user).ok(201);
    }
    let (own, _) = look_up(&server, "?user_id=7");
    let mut newest_first = server.shopper(7, get(GRABS)).ok(200)["grabs"].as_array().expect("a list").clone();
    newest_first.reverse();
    let without_user = own.iter().map(|grab| {
        let mut grab = grab.clone();
        assert_eq!(grab.as_object_mut().expect("an object").remove("user_id"), Some(json!("7")));
        grab
    });
    assert_eq!(without_user.collect::<Vec<_>>(), newest_first);
    let (first, next) = look_up(&server, "?user_id=7&limit=2");
    let (rest, end) = look_up(&server, &format!("?user_id=7&limit=2&cursor={}", next.expect("there is one more")));
    assert_eq!(([first, rest].concat(), end), (own, None));
    server.stop_and_audit();
}

#[test]
fn what_is_no_rain_or_no_page_of_it_is_refused_and_so_is_a_shopper() {
    let server = raining(5, 1_000, json!({}));
    server.operator(put(SALE, &sale(1))).ok(201);
    let order = server.shopper(7, post(http::ORDERS).json(&http::wish(1))).ok(201)["order_id"].clone();
    grab(&server, 7).ok(201);
    for path in [format!("{SALE}/grabs"), "/admin/v1/activities/9/grabs".to_owned()] {
        server.operator(get(&path)).problem(404, "activity_not_found");
    }
    let of_other = format!("?cursor={}", order.as_str().expect("an id"));
    for query in ["?limit=0", "?limit=1001", "?limit=x", "?user_id=x", "?cursor=x", &of_other] {
        server.operator(get(&format!("{RAIN}/grabs{query}"))).problem(400, "malformed_request");
    }
    server.operator(get("/admin/v1/activities/x/grabs")).problem(400, "malformed_request");
    let as_role = |role| {
        let request = get(&format!("{RAIN}/grabs")).token(&server.token(900, role));
        connect(server.operator).ask(&request)
    };
    assert_eq!(as_role(Some("auditor")).ok(200)["grabs"].as_array().map(Vec::len), Some(1));
    as_role(None).problem(403, "forbidden");
    as_role(Some("merchant")).problem(403, "forbidden");
    connect(server.operator).ask(&get(&format!("{RAIN}/grabs"))).problem(401, "unauthenticated");
    server.operator(post(&format!("{RAIN}/grabs"))).problem(405, "method_not_allowed");
    server.stop_and_audit();
}

/// A rain that has left answers as it did before; `http_retired.rs` and `mysql_dropped_packets.rs` ask more of it.
#[test]
fn a_rain_that_has_left_is_looked_up_as_before() {
    let tweak = |config: &mut doorbuster::config::Config| config.journal.retain_ended_s = 3_600;
    let server = Server::start(Settings { tweak: Some(tweak), ..Settings::default() });
    server.operator(put(RAIN, &rain_with(40, 4_000, json!({ "shards": 4 })))).ok(201);
    (1..=20).for_each(|user| _ = grab(&server, user).ok(201));
    let before = read_through(&server, 6);
    assert_eq!(before.len(), 20);
    server.clock.advance_ms(2 * 3_600_000);
    while server.metric("doorbuster_activities_left") != Some(1.0) {
        std::thread::yield_now();
    }
    assert_eq!(read_through(&server, 6), before);
    assert_eq!(
        look_up(&server, "?user_id=3").0,
        before.iter().filter(|grab| grab["user_id"] == "3").cloned().collect::<Vec<_>>()
    );
    assert!(before.iter().all(|grab| grab["granted_at_ms"] == NOW_MS));
    server.stop_and_audit();
}
