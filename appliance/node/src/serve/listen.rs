//! Listeners: one socket per address and core, all on one port.
//! Invariant: no other process shares the port. The first socket is bound without SO_REUSEPORT, so a port that anyone
//! holds is refused, another appliance's too; only then is it opened to the other cores' sockets.

use std::net::{SocketAddr, TcpListener};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::exit::Failure;

/// Connections that may wait to be accepted; the kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 4_096;

/// An address with its sockets.
pub struct Bound {
    /// The address, with the port that was picked where 0 was asked for.
    pub address: SocketAddr,
    /// One per core, in order.
    pub sockets: Vec<TcpListener>,
}

/// Opens every address for every core. Errors: a port is taken, or an address is not this machine's.
pub fn open(addresses: &[SocketAddr], core_count: usize) -> Result<Vec<Bound>, Failure> {
    addresses
        .iter()
        .map(|address| open_one(*address, core_count).map_err(|error| explain(*address, error)))
        .collect()
}

fn open_one(address: SocketAddr, core_count: usize) -> Result<Bound, Errno> {
    let first = bound(address, false)?;
    sockopt::set_socket_reuseport(&first, true)?;
    listen(&first, BACKLOG)?;
    let address = first.local_addr().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let mut sockets = vec![first];
    for _ in 1..core_count {
        let next = bound(address, true)?;
        listen(&next, BACKLOG)?;
        sockets.push(next);
    }
    Ok(Bound { address, sockets })
}

fn bound(address: SocketAddr, shared: bool) -> Result<TcpListener, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Connections of an earlier process that linger in TIME_WAIT do not hold the port.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, shared)?;
    bind(&socket, &address)?;
    Ok(TcpListener::from(socket))
}

fn explain(address: SocketAddr, error: Errno) -> Failure {
    match error {
        Errno::ADDRINUSE => Failure::held(format!(
            "cannot listen on {address}: another process holds the port; stop it (ss -ltnp 'sport = :{}') or choose another with --listen",
            address.port()
        )),
        Errno::ACCESS | Errno::PERM => Failure::configuration(format!(
            "cannot listen on {address}: ports below 1024 need CAP_NET_BIND_SERVICE; choose a port above or grant it"
        )),
        Errno::ADDRNOTAVAIL => Failure::configuration(format!(
            "cannot listen on {address}: this machine has no such address; see `ip address` and correct --listen"
        )),
        Errno::AFNOSUPPORT => Failure::configuration(format!(
            "cannot listen on {address}: this machine has no IPv6; remove the address from --listen"
        )),
        error => Failure::configuration(format!("cannot listen on {address}: {error}; correct --listen")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn every_core_gets_a_socket_on_the_one_port_that_was_picked() {
        let bound = open(&[any(), any()], 3).expect("free ports");
        assert_ne!(bound[0].address.port(), bound[1].address.port());
        for one in &bound {
            assert_eq!(one.sockets.len(), 3);
            for socket in &one.sockets {
                assert_eq!(socket.local_addr().expect("bound"), one.address);
            }
        }
    }

    #[test]
    fn a_port_that_another_appliance_holds_is_refused() {
        let held = open(&[any()], 2).expect("free port");
        let failure = open(&[held[0].address], 2).err().expect("refused");
        assert_eq!(failure.exit, Exit::Held);
        assert!(failure.message.contains("another process holds the port"), "{failure}");
    }

    #[test]
    fn each_socket_of_a_port_takes_connections() {
        let bound = open(&[any()], 2).expect("free port");
        for one in &bound[0].sockets {
            one.set_nonblocking(true).expect("socket option");
        }
        let mut taken = [0, 0];
        for _ in 0..200 {
            let mut client = TcpStream::connect(bound[0].address).expect("connects");
            let index = loop {
                let found = bound[0].sockets.iter().position(|socket| match socket.accept() {
                    Ok((mut stream, _)) => stream.write_all(b"x").is_ok(),
                    Err(_) => false,
                });
                if let Some(index) = found {
                    break index;
                }
            };
            taken[index] += 1;
            client.read_exact(&mut [0]).expect("answered");
        }
        // Both in 200 draws: missing one by chance has a probability of 2^-199.
        assert!(taken.iter().all(|count| *count > 0), "{taken:?}");
    }
}
