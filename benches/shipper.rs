use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use std::time::Instant;
fn main() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run());
}
async fn run() {
    let n: u64 = 400_000;
    for per in [500usize, 1000, 2000] {
        let mut c = MySqlConnection::connect("mysql://root@127.0.0.1:13306/p").await.unwrap();
        c.execute("TRUNCATE orders").await.unwrap();
        c.execute("TRUNCATE order_slots").await.unwrap();
        let o = format!("INSERT INTO orders VALUES {}", vec!["(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"; per].join(","));
        let s = format!("INSERT INTO order_slots VALUES {}", vec!["(?,?,?,?,?)"; per].join(","));
        let begun = Instant::now();
        let mut enc = std::time::Duration::ZERO;
        let mut i = 0u64;
        while i < n {
            c.execute("BEGIN").await.unwrap();
            for _ in 0..(8000 / per) {
                let e = Instant::now();
                let mut q = sqlx::query(AssertSqlSafe(o.as_str()));
                let mut p = sqlx::query(AssertSqlSafe(s.as_str()));
                for _ in 0..per {
                    i += 1;
                    let oid = (1u64 << 36) + i;
                    let user = (i.wrapping_mul(0x9e3779b97f4a7c15) >> 34).to_string();
                    q = q
                        .bind(oid)
                        .bind(1001u64)
                        .bind("2001")
                        .bind(user)
                        .bind(1u32)
                        .bind(199900u64)
                        .bind("CNY")
                        .bind("held")
                        .bind(format!("cart-{}", i % 1000))
                        .bind(i.to_string())
                        .bind(1790000000000u64)
                        .bind(1790000300000u64)
                        .bind(None::<u64>)
                        .bind(None::<Vec<u8>>)
                        .bind(i + 1)
                        .bind(i + 1);
                    p = p.bind(1001u64).bind("2001").bind(i as u32).bind(0u64).bind(oid);
                }
                enc += e.elapsed();
                q.execute(&mut c).await.unwrap();
                p.execute(&mut c).await.unwrap();
            }
            c.execute("COMMIT").await.unwrap();
        }
        println!(
            "prepared per={per} {:?} enc {:?} {:.0}/s",
            begun.elapsed(),
            enc,
            n as f64 / begun.elapsed().as_secs_f64()
        );
        c.execute("TRUNCATE orders").await.unwrap();
        c.execute("TRUNCATE order_slots").await.unwrap();
        let begun = Instant::now();
        let mut enc = std::time::Duration::ZERO;
        let mut i = 0u64;
        while i < n {
            c.execute("BEGIN").await.unwrap();
            for _ in 0..(8000 / per) {
                let e = Instant::now();
                use std::fmt::Write;
                let mut q = String::from("INSERT INTO orders VALUES ");
                let mut p = String::from("INSERT INTO order_slots VALUES ");
                for k in 0..per {
                    i += 1;
                    let oid = (1u64 << 36) + i;
                    let user = i.wrapping_mul(0x9e3779b97f4a7c15) >> 34;
                    if k > 0 {
                        q.push(',');
                        p.push(',');
                    }
                    write!(q, "({oid},1001,'2001','{user}',1,199900,'CNY','held','cart-{}','{i}',1790000000000,1790000300000,NULL,NULL,{},{})", i % 1000, i + 1, i + 1).unwrap();
                    write!(p, "(1001,'2001',{i},0,{oid})").unwrap();
                }
                enc += e.elapsed();
                sqlx::raw_sql(AssertSqlSafe(q)).execute(&mut c).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(p)).execute(&mut c).await.unwrap();
            }
            c.execute("COMMIT").await.unwrap();
        }
        println!(
            "text per={per} {:?} enc {:?} {:.0}/s",
            begun.elapsed(),
            enc,
            n as f64 / begun.elapsed().as_secs_f64()
        );
    }
}
