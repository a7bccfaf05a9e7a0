//! A stream as a source and a sink of bytes, for code that is generic over them.

use std::io;
use std::net::Shutdown;

use coronet_ring::Lease;

use super::TcpStream;
use crate::buf::{BufResult, IoBuf, IoBufMut, IoVectoredBuf};
use crate::io::{AsyncRead, AsyncRecv, AsyncWrite};

impl AsyncRead for &TcpStream {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        TcpStream::read(self, buf).await
    }

    async fn read_exact<B: IoBufMut>(&mut self, buf: B) -> BufResult<(), B> {
        TcpStream::read_exact(self, buf).await
    }
}

impl AsyncRecv for &TcpStream {
    type Chunk = Lease;

    async fn recv(&mut self) -> io::Result<Lease> {
        TcpStream::recv(self).await
    }
}

impl AsyncWrite for &TcpStream {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        TcpStream::write(self, buf).await
    }

    async fn write_all<B: IoBuf>(&mut self, buf: B) -> BufResult<(), B> {
        TcpStream::write_all(self, buf).await
    }

    async fn write_vectored<V: IoVectoredBuf>(&mut self, bufs: V) -> BufResult<usize, V> {
        TcpStream::write_vectored(self, bufs).await
    }

    async fn write_vectored_all<V: IoVectoredBuf>(&mut self, bufs: V) -> BufResult<(), V> {
        TcpStream::write_vectored_all(self, bufs).await
    }

    async fn settle(&mut self) -> io::Result<()> {
        TcpStream::flush(self).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        TcpStream::flush(self).await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        TcpStream::flush(self).await?;
        TcpStream::shutdown(self, Shutdown::Write)
    }
}

/// Forwards the traits of an owner to those of a shared stream.
macro_rules! through {
    (read $type:ty) => {
        impl AsyncRead for $type {
            async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
                self.stream().read(buf).await
            }

            async fn read_exact<B: IoBufMut>(&mut self, buf: B) -> BufResult<(), B> {
                self.stream().read_exact(buf).await
            }
        }

        impl AsyncRecv for $type {
            type Chunk = Lease;

            async fn recv(&mut self) -> io::Result<Lease> {
                self.stream().recv().await
            }
        }
    };
    (write $type:ty) => {
        impl AsyncWrite for $type {
            async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
                self.stream().write(buf).await
            }

            async fn write_all<B: IoBuf>(&mut self, buf: B) -> BufResult<(), B> {
                self.stream().write_all(buf).await
            }

            async fn write_vectored<V: IoVectoredBuf>(&mut self, bufs: V) -> BufResult<usize, V> {
                self.stream().write_vectored(bufs).await
            }

            async fn write_vectored_all<V: IoVectoredBuf>(&mut self, bufs: V) -> BufResult<(), V> {
                self.stream().write_vectored_all(bufs).await
            }

            async fn settle(&mut self) -> io::Result<()> {
                self.stream().flush().await
            }

            async fn flush(&mut self) -> io::Result<()> {
                self.stream().flush().await
            }

            async fn shutdown(&mut self) -> io::Result<()> {
                let mut stream = self.stream();
                AsyncWrite::shutdown(&mut stream).await
            }
        }
    };
}

impl TcpStream {
    fn stream(&self) -> &Self {
        self
    }
}

through!(read TcpStream);
through!(write TcpStream);
through!(read super::OwnedReadHalf);
through!(write super::OwnedWriteHalf);
through!(read super::ReadHalf<'_>);
through!(write super::WriteHalf<'_>);
