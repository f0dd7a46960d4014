//! A signed assertion in place of a client secret: a JSON Web Token made of the app's certificate and key
//! (Entra's certificate credentials: PS256, `x5t#S256`).
//!
//! Invariant: the key is read for one signature and wiped; nothing of it is in an error.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{Timestamp, random_hex};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use sha2::Digest;

/// Seconds that an assertion counts, and how far back it begins: clocks differ.
const VALID_S: i64 = 600;

/// The assertion for `client`, to be shown at `audience`, as of `now`.
pub(super) fn assertion(pem: &[u8], client: &str, audience: &str, now: Timestamp) -> Result<String> {
    let bad = |why: &str| {
        Error::new(ErrorCode::Backend, format!("the client certificate {why}"))
            .hint("give a PEM file with an RSA key of 2048 bits or more (not encrypted) and its certificate")
    };
    let certificate = CertificateDer::from_pem_slice(pem).map_err(|_| bad("file holds no certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| bad("file holds no private key"))?;
    let key = match &key {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(bad("has a key that is not RSA")),
    };
    let key = key.map_err(|e| bad(&format!("has a key that cannot sign: {e}")))?;
    let thumbprint = BASE64URL.encode(sha2::Sha256::digest(&certificate));
    let head = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint });
    let claims = json!({
        "aud": audience,
        "iss": client,
        "sub": client,
        "jti": random_hex::<16>(),
        "iat": now.as_secs(),
        "nbf": now.as_secs() - VALID_S / 2,
        "exp": now.as_secs() + VALID_S,
    });
    let signed = format!("{}.{}", BASE64URL.encode(head.to_string()), BASE64URL.encode(claims.to_string()));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PSS_SHA256, &ring::rand::SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| bad("cannot be signed with"))?;
    Ok(format!("{signed}.{}", BASE64URL.encode(signature)))
}
