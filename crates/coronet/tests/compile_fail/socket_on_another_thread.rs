//! A socket stays on the core whose ring it uses.

use coronet::net::TcpStream;

fn main() {
    coronet::run(async {
        let stream = TcpStream::connect("127.0.0.1:80").await.unwrap();
        std::thread::spawn(move || drop(stream));
    });
}
