//! Signatures against another verifier, the certificate's address, and the key that is made once.

use std::process::Command;

use super::*;

/// A signer, its certificate in text form, and a directory that a verifier may use.
fn signer() -> (Signer, String) {
    let private_key = Key::make().expect("a key");
    let der = certificate::make(&private_key).expect("a certificate");
    let key = Key::from_pkcs8(&private_key).expect("the same key");
    let certificate_path = certificate::path(&der);
    (Signer { key, certificate_path }, certificate::pem(&der))
}

fn openssl(arguments: &[&str], directory: &std::path::Path) -> Option<std::process::Output> {
    Command::new("openssl").args(arguments).current_dir(directory).output().ok()
}

#[test]
fn both_signatures_verify_by_the_certificate_and_not_over_another_text() {
    let (signer, pem) = signer();
    let directory = std::env::temp_dir().join(format!("sns-signing-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("certificate.pem"), &pem).expect("writes");
    let text = "Message\nä\nMessageId\nx\n";
    std::fs::write(directory.join("text"), text).expect("writes");
    std::fs::write(directory.join("other"), "Message\nb\nMessageId\nx\n").expect("writes");
    let extract = ["x509", "-in", "certificate.pem", "-pubkey", "-noout", "-out", "public.pem"];
    // Where there is no openssl the library's own verifier has looked at the signatures already.
    if let Some(output) = openssl(&extract, &directory) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for (version, digest) in [(SignatureVersion::V1, "-sha1"), (SignatureVersion::V2, "-sha256")] {
            let signature = signer.sign(version, text).expect("signs");
            let signature = aws::encoding::unbase64(signature.as_bytes()).expect("base64");
            std::fs::write(directory.join("signature"), signature).expect("writes");
            for (file, verifies) in [("text", true), ("other", false)] {
                let check = ["dgst", digest, "-verify", "public.pem", "-signature", "signature", file];
                let output = openssl(&check, &directory).expect("runs");
                assert_eq!(output.status.success(), verifies, "{digest} {file} {output:?}");
            }
        }
    }
    std::fs::remove_dir_all(&directory).expect("removes");
}

#[test]
fn the_exponentiation_here_gives_what_the_library_gives() {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    for _ in 0..3 {
        let (signer, _) = signer();
        let ours = signer.key.sign_sha1(b"text").expect("signs and verifies");
        assert_eq!(
            ours,
            signer.key.sign_sha1(b"text").expect("signs again"),
            "there is one signature of a text"
        );
        assert_ne!(ours, signer.key.sign_sha1(b"texts").expect("signs"));
        let theirs = signer.key.sign_sha256(b"text").expect("signs");
        let public = signer.key.public();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public.as_ref())
            .verify(b"text", &theirs)
            .expect("verifies");
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let whole = Key::make().expect("a key");
    for length in [0, 1, 20, whole.len() / 2, whole.len() - 1] {
        assert!(Key::from_pkcs8(&whole[..length]).is_err(), "{length}");
    }
    for place in (0..whole.len()).step_by(whole.len() / 16) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x10;
        // A key that a flipped bit left readable signs nothing that does not verify.
        if let Ok(key) = Key::from_pkcs8(&damaged) {
            let outcome = key.sign_sha1(b"text");
            assert!(outcome.is_ok() || outcome == Err(KeyError::NotSigned), "at {place}");
        }
    }
}

#[test]
fn a_certificates_path_holds_its_fingerprint() {
    let (signer, pem) = signer();
    let path = signer.certificate_path();
    assert!(is_certificate_path(path), "{path}");
    assert_eq!(path.len(), "/SimpleNotificationService-.pem".len() + 32);
    assert!(pem.lines().all(|line| line.len() <= 64));
    for other in ["/", "/SimpleNotificationService-.pem", "/SimpleNotificationService-0123.pem", "/a/b.pem"] {
        assert!(!is_certificate_path(other), "{other}");
    }
    assert!(!is_certificate_path(&path.to_uppercase()));
    assert!(!format!("{signer:?}").contains("key"), "nothing of the key is shown");
}
