//! What the crowd itself can do and costs, against a responder that does nothing: `cargo bench -p loadtest`.

use loadtest::{Mode, Plan, Shares};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ACTIVITY: &str =
    r#"{"activity_id":"1001","kind":"flash_sale","skus":[{"sku_id":"2001","price_cents":199900,"stock":1000}]}"#;
const SOLD_OUT: &str =
    r#"{"type":"about:blank","title":"Sold out","status":409,"code":"sold_out","request_id":"0123456789abcdef"}"#;

fn reply(status: &str, kind: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {len}\r\ncontent-type: {kind}\r\nx-request-id: 0123456789abcdef\r\ndate: Fri, 20 Nov 2026 22:00:00 GMT\r\n\r\n{body}")
        .into_bytes()
}

async fn respond(mut stream: TcpStream) {
    let activity = reply("200 OK", "application/json", ACTIVITY);
    let sold_out = reply("409 Conflict", "application/problem+json", SOLD_OUT);
    let mut buffer = vec![0; 4096];
    // Every request of the crowd fits one segment and waits for its reply.
    while let Ok(1..) = stream.read(&mut buffer).await {
        let text = if buffer.starts_with(b"GET") { &activity } else { &sold_out };
        if stream.write_all(text).await.is_err() {
            return;
        }
    }
}

fn measure(adjust: impl FnOnce(&mut Plan)) {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            tell.send(listener.local_addr().expect("bound")).expect("it is waited for");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(respond(stream));
            }
        });
    });
    let target = told.recv().expect("the responder is up");
    let secret = "a secret of at least thirty-two bytes";
    let mut plan = Plan { target, attempts: 1_000_000, shares: Shares::PLAIN, ..Plan::new(1001, secret) };
    adjust(&mut plan);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let report = runtime.block_on(loadtest::run(&plan, loadtest::silent())).expect("the run can be made");
    assert!(report.holds());
    println!("{}", report.table());
}

fn main() {
    println!("closed loop\n");
    measure(|_| {});
    println!("open loop, 50,000 requests/s\n");
    measure(|plan| plan.mode = Mode::Open { rate: 50_000.0 });
}
