//! What may stand in `jobs.metadata`.

use super::bench::Bench;
use super::fixtures::body;
use super::rows::{bytes, quoted, refused};

#[tokio::test]
async fn bad_metadata_is_refused_with_the_rule() {
    let mut bench = Bench::fresh().await;
    let why = "jobs.metadata must be a JSON object of at most 16 KiB (16384 bytes)";
    let mut all: Vec<String> = [
        "",
        " ",
        "{",
        "{}}",
        "{} {}",
        "[]",
        "null",
        "7",
        "\"text\"",
        "true",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1,}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":0x1}",
        "{\"a\":\"\u{1}\"}",
        "{\"a\":\"\n\"}",
        "/**/{}",
        "{}//",
        "\u{feff}{}",
        "{\"a\":\"\\x41\"}",
    ]
    .map(quoted)
    .to_vec();
    all.push(quoted(&format!("{{\"a\":\"{}\"}}", "x".repeat(16384 - 7))));
    all.push(quoted(&format!("{{\"a\":\"{}\"}}", "ü".repeat(8189))));
    all.push(bytes(b"{}\0"));
    all.push(bytes(b"{}\0{"));
    for metadata in &all {
        refused(&mut bench, "id, metadata", &format!("'1', {metadata}"), why).await;
    }
}

#[tokio::test]
async fn metadata_nested_deeper_than_32_levels_is_refused() {
    let mut bench = Bench::fresh().await;
    let why = "jobs.metadata must be nested at most 32 levels deep";
    let lists = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let objects = format!("{}1{}", "{\"b\":".repeat(33), "}".repeat(33));
    let beside = format!("{{\"flat\":[1,\"[[\"],\"deep\":{}}}", &lists(31));
    for metadata in [lists(32), lists(990), objects, beside] {
        let values = format!("'1', {}", quoted(&metadata));
        refused(&mut bench, "id, metadata", &values, why).await;
    }
}

#[tokio::test]
async fn good_metadata_is_kept_to_the_byte() {
    let mut bench = Bench::fresh().await;
    let longest = format!("{{\"a\":\"{}\"}}", "x".repeat(16384 - 8));
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(31), "]".repeat(31));
    let good = [
        "{}",
        " { \"customer\" : \"c_9\" } ",
        "{\"a\":1,\"a\":2}",
        "{\"n\":1e400,\"m\":12345678901234567890123}",
        "{\"it's\":\"\u{1f389} \\u00fc ü\"}",
        "{\"s\":\"\\ud800\"}",
        "\n{\t\"a\":\n1}\r\n",
        &longest,
        &deep,
    ];
    for (n, metadata) in good.iter().enumerate() {
        let script = format!(
            "INSERT INTO jobs (id, metadata) VALUES ('{n}', {})",
            quoted(metadata)
        );
        assert_eq!(bench.outsider.run(&script).await, Ok(1), "{metadata:.60}");
        let job = bench.tracked(&n.to_string()).await;
        assert_eq!(job.metadata.as_deref(), Some(*metadata));
        bench
            .sees(job.id.as_str(), &body(&[("a", "success")]), &[])
            .await;
        let delivered = &bench.bodies(job.id.as_str()).await[1];
        assert!(
            delivered.contains(&format!("\"metadata\":{},", metadata.trim())),
            "{delivered:.200}"
        );
    }
}

#[tokio::test]
async fn metadata_with_bytes_that_are_no_text_is_handed_on_with_marks_in_their_place() {
    let mut bench = Bench::fresh().await;
    let script = format!(
        "INSERT INTO jobs (id, metadata) VALUES ('1', {})",
        bytes(b"{\"a\":\"\xff\"}")
    );
    bench.outsider.run(&script).await.unwrap();
    bench.sees("1", &body(&[("a", "success")]), &[]).await;
    let detail = bench.detail("1").await;
    assert_eq!(
        detail.summary.metadata.as_deref(),
        Some("{\"a\":\"\u{fffd}\"}")
    );
    let delivered = &bench.bodies("1").await[1];
    assert!(delivered.contains("\"metadata\":{\"a\":\"\u{fffd}\"}"));
}
