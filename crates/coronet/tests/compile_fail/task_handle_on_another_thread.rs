//! A task is awaited on its own core.

fn main() {
    coronet::run(async {
        let task = coronet::spawn(async { 1 });
        std::thread::spawn(move || drop(task));
    });
}
