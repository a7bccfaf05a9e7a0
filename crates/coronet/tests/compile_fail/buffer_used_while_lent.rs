//! A buffer that is lent is not the caller's until it comes back.

use coronet::net::TcpStream;

async fn write(stream: &TcpStream) {
    let bytes = vec![0; 64];
    let write = stream.write_all(bytes);
    println!("{}", bytes.len());
    let _ = write.await;
}

fn main() {}
