//! An appliance for a test: the binary that `ZEROCLOUD_BINARY` names, on a free port, with a data directory of its own.
//!
//! Invariant: what listens at [`Appliance::url`] is the process that was started here; it ends, by its id, with its handle, and
//! its data goes with it.

use crate::subject::{Names, Subject, Time};
use async_trait::async_trait;
use bytes::Bytes;
use cloudkit_core::common::{Credentials, random_u64};
use std::fs;
use std::io::{self, BufRead, BufReader, Error};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A running appliance.
#[derive(Debug)]
pub struct Appliance {
    child: Child,
    directory: PathBuf,
    url: String,
}

impl Appliance {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// What is wrong with the variable, the binary, or the place for the data; and a port that another process holds.
    pub fn start() -> io::Result<Self> {
        let binary = std::env::var_os("ZEROCLOUD_BINARY")
            .ok_or_else(|| Error::other("ZEROCLOUD_BINARY does not name the appliance's binary"))?;
        let directory = std::env::temp_dir().join(format!("cloudkit-{:016x}", random_u64()));
        fs::create_dir(&directory)?;
        let child = Command::new(binary)
            .args(["serve", "--data", "data", "--listen", "127.0.0.1:0"])
            .current_dir(&directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut appliance = Self { child, directory, url: String::new() };
        appliance.wait_until_ready()?;
        appliance.check_listener()?;
        Ok(appliance)
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let stdout = self.child.stdout.take().ok_or_else(|| Error::other("its output is not read"))?;
        let mut lines = BufReader::new(stdout).lines();
        for line in lines.by_ref() {
            if let Some((_, place)) = line?.split_once(READY) {
                self.url = place.split_whitespace().next().unwrap_or("").trim_end_matches('/').to_owned();
                // Somebody has to read on, or the appliance waits for its log to be taken.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(());
            }
        }
        Err(Error::other("the appliance ended before it was ready"))
    }

    /// Every socket that listens on the port must be one of the process that was started.
    fn check_listener(&self) -> io::Result<()> {
        let port = self.address()?.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        let port = port.ok_or_else(|| Error::other("the address has no port"))?;
        let mut own = Vec::new();
        for entry in fs::read_dir(format!("/proc/{}/fd", self.child.id()))? {
            // One that was closed meanwhile is none that listens.
            own.extend(fs::read_link(entry?.path()).ok().map(|target| target.display().to_string()));
        }
        let inodes = listening(&fs::read_to_string("/proc/net/tcp")?, port);
        let is_own = |inode: &String| own.contains(&format!("socket:[{inode}]"));
        if inodes.is_empty() || !inodes.iter().all(is_own) {
            return Err(Error::other(format!("port {port} is not held by the appliance that was started")));
        }
        Ok(())
    }

    /// Where it listens, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn address(&self) -> io::Result<&str> {
        self.url.strip_prefix("http://").ok_or_else(|| Error::other("its address is not one of plain HTTP"))
    }

    /// The file with its credentials, in the form of an AWS profile.
    pub fn credentials_file(&self) -> PathBuf {
        self.directory.join("data/credentials")
    }

    /// The keys in that file.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn credentials(&self) -> io::Result<Credentials> {
        let text = fs::read_to_string(self.credentials_file())?;
        let value = |name: &str| {
            let mut pairs = text.lines().filter_map(|line| line.split_once('='));
            pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
        };
        match (value("aws_access_key_id"), value("aws_secret_access_key")) {
            (Some(access), Some(secret)) => Ok(Credentials::new(access, secret)),
            _ => Err(Error::other("the file of credentials has no keys")),
        }
    }

    /// Kills it, as a loss of power would as far as a process can tell.
    ///
    /// # Errors
    /// Those of the system.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        // Whatever fails here has no one to be told to, and harms no result.
        self.kill().ok();
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// The inodes of sockets that listen on this port, out of the text of `/proc/net/tcp` (proc_net_tcp.rst of the kernel's
/// documentation: local address, remote address, state, .., inode).
fn listening(table: &str, port: u16) -> Vec<String> {
    let listens = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        let at_port = words.next().is_some_and(|local| local.ends_with(&format!(":{port:04X}")));
        at_port && words.nth(1) == Some(STATE_LISTEN)
    };
    let inode = |line: &str| line.split_whitespace().nth(9).map(String::from);
    table.lines().skip(1).filter(listens).filter_map(inode).collect()
}

/// A subject of the suite that reaches an appliance, by whatever provider.
pub struct OverAppliance {
    name: String,
    names: Names,
    address: String,
}

impl OverAppliance {
    /// A subject of this name, which opens signed addresses of this appliance only.
    ///
    /// # Errors
    /// An appliance that does not speak plain HTTP.
    pub fn new(name: &str, appliance: &Appliance) -> io::Result<Self> {
        let address = appliance.address()?.to_owned();
        Ok(Self { name: name.to_owned(), names: Names::default(), address })
    }

    /// A request without credentials. Gives the body of a success; the text of the error is the status and the body.
    async fn request(&self, method: &str, url: &str, data: &[u8]) -> Result<Bytes, String> {
        let path = url.strip_prefix("http://").and_then(|rest| rest.strip_prefix(&self.address));
        let path = path.ok_or_else(|| format!("{url} is no address at {}", self.address))?;
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            data.len()
        )
        .into_bytes();
        request.extend_from_slice(data);
        let exchanged = async {
            let mut stream = TcpStream::connect(&self.address).await?;
            stream.write_all(&request).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            io::Result::Ok(answer)
        };
        let answer = Bytes::from(exchanged.await.map_err(|error| error.to_string())?);
        let end = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .ok_or("the answer has no end of its head")?;
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let body = answer.slice(end + 4..);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        if length.is_some_and(|length| length.trim() != body.len().to_string()) {
            return Err(format!("the body has {} bytes and not {length:?}", body.len()));
        }
        match head.split(' ').nth(1) {
            Some("200") => Ok(body),
            status => Err(format!("{status:?}: {}", String::from_utf8_lossy(&body))),
        }
    }
}

#[async_trait]
impl Subject for OverAppliance {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn fresh(&self, what: &str) -> String {
        self.names.fresh(what)
    }

    fn time(&self) -> Time {
        Time::Real
    }

    async fn open(&self, url: &str) -> Option<Result<Bytes, String>> {
        Some(self.request("GET", url, b"").await)
    }

    async fn open_put(&self, url: &str, data: &[u8]) -> Option<Result<(), String>> {
        Some(self.request("PUT", url, data).await.map(drop))
    }
}

/// What the appliance prints before its address, once it is ready.
const READY: &str = "zerocloud ready on ";
/// TCP_LISTEN in the kernel's table.
const STATE_LISTEN: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_out_of_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
               0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1 0\n\
               1: 0100007F:1F90 0100007F:9000 01 00000000:00000000 00:00000000 00000000  1000        0 222 1 0\n\
               2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 333 1 0\n\
               3: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 444 1 0\n";
        assert_eq!(listening(table, 8080), ["111", "444"]);
        assert!(listening(table, 80).is_empty());
    }
}
