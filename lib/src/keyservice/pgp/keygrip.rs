//! Keygrips: the names that GnuPG's agent has for keys, made from the public numbers alone.
//!
//! As libgcrypt computes them: `cipher/rsa.c`, `cipher/elgamal.c`, `cipher/ecc.c`, the functions
//! `compute_keygrip`.

use sequoia_openpgp::crypto::mpi::{MPI, PublicKey};
use sequoia_openpgp::fmt::hex;
use sequoia_openpgp::types::{Curve, HashAlgorithm};

/// The numbers that define a curve, in hexadecimal digits, without leading zeros; the base point
/// uncompressed. Where libgcrypt has a negative number, its amount: that is what it hashes.
struct Domain {
    curve: Curve,
    p: &'static str,
    a: &'static str,
    b: &'static str,
    g: &'static str,
    n: &'static str,
}

/// Returns the keygrip of a public key, or `None` for keys that the agent knows nothing of.
pub(super) fn keygrip(key: &PublicKey) -> Option<[u8; 20]> {
    let mut text = Vec::new();
    match key {
        PublicKey::RSA { n, .. } => text.extend(signed(n)),
        PublicKey::DSA { p, q, g, y } => {
            for (name, number) in [('p', p), ('q', q), ('g', g), ('y', y)] {
                push(&mut text, name, &signed(number));
            }
        }
        PublicKey::ElGamal { p, g, y } => {
            for (name, number) in [('p', p), ('g', g), ('y', y)] {
                push(&mut text, name, &signed(number));
            }
        }
        PublicKey::ECDH { curve, q, .. } | PublicKey::ECDSA { curve, q } | PublicKey::EdDSA { curve, q } => {
            let domain = DOMAINS.iter().find(|it| it.curve == *curve)?;
            for (name, digits) in [('p', domain.p), ('a', domain.a), ('b', domain.b), ('g', domain.g), ('n', domain.n)]
            {
                push(&mut text, name, &hex::decode(digits).ok()?);
            }
            let q = match curve {
                // The prefix says in OpenPGP that the point is in the curve's own form.
                Curve::Ed25519 | Curve::Cv25519 => q.value().strip_prefix(&[0x40]).unwrap_or(q.value()),
                _ => q.value(),
            };
            push(&mut text, 'q', q);
        }
        _ => return None,
    }
    Some(sha1(&text))
}

/// Digests with SHA-1: GnuPG names keys, and the folders of its sockets, by it. Nothing here relies
/// on it for more.
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut hash = HashAlgorithm::SHA1.context().expect("every backend has it").for_digest();
    hash.update(bytes);
    let mut digest = [0; 20];
    hash.digest(&mut digest).expect("there is room for it");
    digest
}

/// Appends one number of a canonical S-expression with its name.
fn push(text: &mut Vec<u8>, name: char, number: &[u8]) {
    text.extend(format!("(1:{name}{}:", number.len()).bytes());
    text.extend(number);
    text.push(b')');
}

/// A number as it stands where numbers may be negative: with a zero before a set highest bit.
fn signed(number: &MPI) -> Vec<u8> {
    let zero = number.value().first().is_some_and(|it| it & 0x80 != 0);
    zero.then_some(0).into_iter().chain(number.value().iter().copied()).collect()
}

const DOMAINS: &[Domain] = &[
    Domain {
        curve: Curve::Ed25519,
        p: "7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFED",
        a: "01",
        b: "2DFC9311D490018C7338BF8688861767FF8FF5B2BEBE27548A14B235ECA6874A",
        g: "04216936D3CD6E53FEC0A4E231FDD6DC5C692CC7609525A7B2C9562D608F25D51A666666666666666666666666666666\
            6666666666666666666666666666666658",
        n: "1000000000000000000000000000000014DEF9DEA2F79CD65812631A5CF5D3ED",
    },
    Domain {
        curve: Curve::Cv25519,
        p: "7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFED",
        a: "01DB41",
        b: "01",
        g: "04000000000000000000000000000000000000000000000000000000000000000920AE19A1B8A086B4E01EDD2C7748D1\
            4C923D4D7E6D7C61B229E9C5A27ECED3D9",
        n: "1000000000000000000000000000000014DEF9DEA2F79CD65812631A5CF5D3ED",
    },
    Domain {
        curve: Curve::NistP256,
        p: "FFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF",
        a: "FFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFC",
        b: "5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B",
        g: "046B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C2964FE342E2FE1A7F9B8EE7EB4A7C0F9E\
            162BCE33576B315ECECBB6406837BF51F5",
        n: "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551",
    },
    Domain {
        curve: Curve::NistP384,
        p: "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFF0000000000000000FFFFFFFF",
        a: "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFF0000000000000000FFFFFFFC",
        b: "B3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF",
        g: "04AA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760A\
            B73617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E\
            5F",
        n: "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973",
    },
    Domain {
        curve: Curve::NistP521,
        p: "01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\
            FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
        a: "01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\
            FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC",
        b: "51953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF\
            073573DF883D2C34F1EF451FD46B503F00",
        g: "0400C6858E06B70404E9CD9E3ECB662395B4429C648139053FB521F828AF606B4D3DBAA14B5E77EFE75928FE1DC127A2\
            FFA8DE3348B3C1856A429BF97E7E31C2E5BD66011839296A789A3BC0045C8A5FB42C7D1BD998F54449579B446817AFBD\
            17273E662C97EE72995EF42640C550B9013FAD0761353C7086A272C24088BE94769FD16650",
        n: "01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFA51868783BF2F966B7FCC0148F709\
            A5D03BB5C9B8899C47AEBB6FB71E91386409",
    },
    Domain {
        curve: Curve::BrainpoolP256,
        p: "A9FB57DBA1EEA9BC3E660A909D838D726E3BF623D52620282013481D1F6E5377",
        a: "7D5A0975FC2C3057EEF67530417AFFE7FB8055C126DC5C6CE94A4B44F330B5D9",
        b: "26DC5C6CE94A4B44F330B5D9BBD77CBF958416295CF7E1CE6BCCDC18FF8C07B6",
        g: "048BD2AEB9CB7E57CB2C4B482FFC81B7AFB9DE27E1E3BD23C23A4453BD9ACE3262547EF835C3DAC4FD97F8461A14611D\
            C9C27745132DED8E545C1D54C72F046997",
        n: "A9FB57DBA1EEA9BC3E660A909D838D718C397AA3B561A6F7901E0E82974856A7",
    },
    Domain {
        curve: Curve::BrainpoolP384,
        p: "8CB91E82A3386D280F5D6F7E50E641DF152F7109ED5456B412B1DA197FB71123ACD3A729901D1A71874700133107EC53",
        a: "7BC382C63D8C150C3C72080ACE05AFA0C2BEA28E4FB22787139165EFBA91F90F8AA5814A503AD4EB04A8C7DD22CE2826",
        b: "04A8C7DD22CE28268B39B55416F0447C2FB77DE107DCD2A62E880EA53EEB62D57CB4390295DBC9943AB78696FA504C11",
        g: "041D1C64F068CF45FFA2A63A81B7C13F6B8847A3E77EF14FE3DB7FCAFE0CBD10E8E826E03436D646AAEF87B2E247D4AF\
            1E8ABE1D7520F9C2A45CB1EB8E95CFD55262B70B29FEEC5864E19C054FF99129280E4646217791811142820341263C53\
            15",
        n: "8CB91E82A3386D280F5D6F7E50E641DF152F7109ED5456B31F166E6CAC0425A7CF3AB6AF6B7FC3103B883202E9046565",
    },
    Domain {
        curve: Curve::BrainpoolP512,
        p: "AADD9DB8DBE9C48B3FD4E6AE33C9FC07CB308DB3B3C9D20ED6639CCA703308717D4D9B009BC66842AECDA12AE6A380E6\
            2881FF2F2D82C68528AA6056583A48F3",
        a: "7830A3318B603B89E2327145AC234CC594CBDD8D3DF91610A83441CAEA9863BC2DED5D5AA8253AA10A2EF1C98B9AC8B5\
            7F1117A72BF2C7B9E7C1AC4D77FC94CA",
        b: "3DF91610A83441CAEA9863BC2DED5D5AA8253AA10A2EF1C98B9AC8B57F1117A72BF2C7B9E7C1AC4D77FC94CADC083E67\
            984050B75EBAE5DD2809BD638016F723",
        g: "0481AEE4BDD82ED9645A21322E9C4C6A9385ED9F70B5D916C1B43B62EEF4D0098EFF3B1F78E2D0D48D50D1687B93B97D\
            5F7C6D5047406A5E688B352209BCB9F8227DDE385D566332ECC0EABFA9CF7822FDF209F70024A57B1AA000C55B881F81\
            11B2DCDE494A5F485E5BCA4BD88A2763AED1CA2B2FA8F0540678CD1E0F3AD80892",
        n: "AADD9DB8DBE9C48B3FD4E6AE33C9FC07CB308DB3B3C9D20ED6639CCA70330870553E5C414CA92619418661197FAC1047\
            1DB1D381085DDADDB58796829CA90069",
    },
];

#[cfg(test)]
mod tests {
    use sequoia_openpgp::cert::raw::RawCertParser;
    use sequoia_openpgp::parse::Parse;

    use super::*;

    /// What `gpg --with-keygrip` of GnuPG 2.2.40 says of the keys in the file, in their order.
    #[test]
    fn gnupg_computes_the_same() {
        let ring = include_bytes!("../../../testdata/pgp/keygrips.asc");
        let certs = RawCertParser::from_bytes(ring).expect("a keyring").map(|it| it.expect("a certificate"));
        let grips: Vec<_> = certs
            .flat_map(|cert| cert.keys().map(|it| hex::encode(keygrip(it.mpis()).expect("known"))).collect::<Vec<_>>())
            .collect();
        assert_eq!(
            grips,
            [
                "CFCCC1D9CE70D8176A69EE9022C0794F7441CC94",
                "B549A66317BF437FBE4228E90624B194239A94E4",
                "E5C93F5A7300B6CF80A531D9693698A2C688C8DA",
                "C969FC7ED2F239D038039AE74B38C52CAC8DE150",
                "0A075E84903A1DAA7775B30CBAE7409B28BCD50B",
                "B8611E8ADEE4B65F2D056D16F25290682F7243DC",
                "FF578452AD79C2CFFD6DB85DD3ECFD35B8E64C50",
                "F0C565B86E7C11720B15FD8A53B5CD872297DE60",
                "3783A42966EB0DF71880DA03DC7335705D21C089",
                "B45267B595F3D647B26470E3B029D4F320A5E134",
                "65CD6CE7BD4F86383CD2736571E29EA1AA0CE814",
                "339466E36C71D93ECFD7DB5B77F8176A412B8992",
            ]
        );
    }
}
