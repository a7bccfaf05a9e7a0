//! A read takes a buffer that it owns: a borrowed one would end before the kernel is done.

use coronet::net::TcpStream;

async fn read(stream: &TcpStream) {
    let mut bytes = [0; 64];
    let _ = stream.read(&mut bytes[..]).await;
}

fn main() {}
