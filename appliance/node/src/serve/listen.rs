//! Listeners: one socket per address and core, all on one port; or the one that the service manager holds, for all cores.
//! Invariant: no other process shares the port. The first socket is bound without SO_REUSEPORT, so a port that anyone
//! holds is refused, another appliance's too; only then is it opened to the other cores' sockets. The kernel lets only
//! sockets of one user share a port, so nothing can be bound beside the service manager's, which is root's.

use std::net::{SocketAddr, TcpListener};

use http::{Lent, Seat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use super::manager::Inherited;
use crate::exit::Failure;

/// Connections that may wait to be accepted; the kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 16_384;

/// An address with its sockets.
pub struct Bound {
    /// The address, with the port that was picked where 0 was asked for.
    pub address: SocketAddr,
    /// Who accepts.
    pub sockets: Sockets,
}

/// The sockets of an address.
pub enum Sockets {
    /// One per core, in order.
    Own(Vec<TcpListener>),
    /// One for all cores, which outlives the process.
    Lent(TcpListener),
}

/// What one core listens on.
#[derive(Default)]
pub struct CoreSockets {
    /// For its own connections.
    pub own: Vec<TcpListener>,
    /// For those of all cores.
    pub lent: Vec<Lent>,
}

/// Opens every address for every core; the inherited ones are open. Errors: a port is taken, or an address is not this
/// machine's.
pub fn open(
    addresses: &[SocketAddr],
    inherited: Vec<Inherited>,
    core_count: usize,
) -> Result<Vec<Bound>, Failure> {
    let held: Vec<SocketAddr> = inherited.iter().map(|one| one.address).collect();
    let lent = inherited
        .into_iter()
        .map(|one| Ok(Bound { address: one.address, sockets: Sockets::Lent(one.socket) }));
    let own = addresses.iter().filter(|address| !held.contains(address)).map(|address| {
        open_one(*address, core_count).map_err(|error| {
            let holder = held.iter().find(|held| held.port() == address.port());
            match holder {
                Some(held) if error == Errno::ADDRINUSE => Failure::configuration(format!(
                    "cannot listen on {address} beside {held}, which the service manager's socket unit holds; change the \
                     address there (systemctl edit zerocloud.socket) and remove `listen`"
                )),
                _ => explain(*address, error),
            }
        })
    });
    lent.chain(own).collect()
}

/// Gives each core its sockets; those for all cores are accepted from by one core each, in turn.
pub fn share(bound: Vec<Bound>, seats: &[Seat]) -> Vec<CoreSockets> {
    let mut shares: Vec<CoreSockets> = seats.iter().map(|_| CoreSockets::default()).collect();
    for (index, one) in bound.into_iter().enumerate() {
        match one.sockets {
            Sockets::Own(sockets) => {
                for (share, socket) in shares.iter_mut().zip(sockets) {
                    share.own.push(socket);
                }
            }
            Sockets::Lent(socket) => {
                let core = index % seats.len();
                shares[core].lent.push(seats[core].lend(socket));
            }
        }
    }
    shares
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
    Ok(Bound { address, sockets: Sockets::Own(sockets) })
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
        // At boot it may still come: worth another try.
        Errno::ADDRNOTAVAIL => Failure::held(format!(
            "cannot listen on {address}: this machine has no such address, or not yet; see `ip address` and correct --listen"
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

    fn own(bound: &Bound) -> &[TcpListener] {
        match &bound.sockets {
            Sockets::Own(sockets) => sockets,
            Sockets::Lent(socket) => std::slice::from_ref(socket),
        }
    }

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn every_core_gets_a_socket_on_the_one_port_that_was_picked() {
        let bound = open(&[any(), any()], vec![], 3).expect("free ports");
        assert_ne!(bound[0].address.port(), bound[1].address.port());
        for one in &bound {
            assert_eq!(own(one).len(), 3);
            for socket in own(one) {
                assert_eq!(socket.local_addr().expect("bound"), one.address);
            }
        }
    }

    #[test]
    fn a_port_that_another_appliance_holds_is_refused() {
        let held = open(&[any()], vec![], 2).expect("free port");
        let failure = open(&[held[0].address], vec![], 2).err().expect("refused");
        assert_eq!(failure.exit, Exit::Held);
        assert!(failure.message.contains("another process holds the port"), "{failure}");
    }

    #[test]
    fn an_address_that_is_not_there_may_still_come() {
        // Of a block that is for documents only (RFC 5737).
        let failure = open(&[SocketAddr::from(([192, 0, 2, 1], 0))], vec![], 1).err().expect("refused");
        assert_eq!(failure.exit, Exit::Held);
        assert!(failure.message.contains("no such address"), "{failure}");
    }

    #[test]
    fn each_socket_of_a_port_takes_connections() {
        let bound = open(&[any()], vec![], 2).expect("free port");
        for one in own(&bound[0]) {
            one.set_nonblocking(true).expect("socket option");
        }
        let mut taken = [0, 0];
        for _ in 0..200 {
            let mut client = TcpStream::connect(bound[0].address).expect("connects");
            let index = loop {
                let found = own(&bound[0]).iter().position(|socket| match socket.accept() {
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

    #[test]
    fn what_the_service_manager_holds_is_not_bound_again() {
        let socket = TcpListener::bind(any()).expect("free port");
        let address = socket.local_addr().expect("bound");
        let inherited = Inherited { address, socket };
        let bound = open(&[address, any()], vec![inherited], 2).expect("one is there, one is free");
        assert_eq!(bound[0].address, address);
        assert_eq!((own(&bound[0]).len(), own(&bound[1]).len()), (1, 2));
        let shares = share(bound, &http::seats(2));
        let counts: Vec<_> = shares.iter().map(|share| (share.own.len(), share.lent.len())).collect();
        assert_eq!(counts, [(1, 1), (1, 0)]);
    }

    #[test]
    fn an_address_over_the_service_managers_names_its_unit() {
        let socket = TcpListener::bind(any()).expect("free port");
        let address = socket.local_addr().expect("bound");
        let wildcard = SocketAddr::from(([0, 0, 0, 0], address.port()));
        let failure = open(&[wildcard], vec![Inherited { address, socket }], 1).err().expect("refused");
        assert_eq!(failure.exit, Exit::Configuration);
        assert!(failure.message.contains("zerocloud.socket"), "{failure}");
    }
}
