//! A client and a server in one task tree: the shortest program that uses the network.
//!
//! Run it: `cargo run --release --example hello`
//! You should see: `the server says: hello, coronet`

use coronet::net::{TcpListener, TcpStream};

#[coronet::main]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;

    let server = coronet::spawn(async move {
        let (stream, _peer) = listener.accept().await?;
        let (result, name) = stream.read(Vec::with_capacity(64)).await;
        result?;
        let greeting = [b"hello, ".as_slice(), &name].concat();
        stream.write_all(greeting).await.0
    });

    let stream = TcpStream::connect(address).await?;
    stream.write_all("coronet").await.0?;
    // A lease is the very buffer that the kernel filled.
    let answer = stream.recv().await?;
    println!("the server says: {}", String::from_utf8_lossy(&answer));
    server.await.expect("the server task does not panic")
}
