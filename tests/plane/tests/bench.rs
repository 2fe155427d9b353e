//! The benchmark of operators measures something: every scene, with few objects.

use leafseal_plane::bench;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_objects_are_measured() {
    let operator = leafseal_tests::operator().display().to_string();
    let args = ["--operator", &operator, "--objects", "20", "--interval", "5"].map(str::to_owned);
    let options = bench::Options::parse(args).expect("these are options");
    // Where programs are missing, that was said.
    bench::run(&options).await;
}
