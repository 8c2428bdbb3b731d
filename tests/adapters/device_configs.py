"""Configurations of three vendors, with a secret of every kind; each value begins with S3CRET."""

IOS = b"""Building configuration...

Current configuration : 4242 bytes
!
! Last configuration change at 10:21:07 UTC Mon Nov 2 2026 by ops
! NVRAM config last updated at 10:22:00 UTC Mon Nov 2 2026 by ops
!
version 15.9
service password-encryption
hostname gear
!
enable secret 9 S3CRET-enable
enable password 7 S3CRET-enable-7
username clerk privilege 15 secret 9 S3CRET-clerk
username old password 7 S3CRET-old
!
crypto isakmp key S3CRET-isakmp address 203.0.113.9
crypto ikev2 keyring city
 peer eoc
  pre-shared-key local 6 S3CRET-psk
key chain ospf
 key 1
  key-string 7 S3CRET-chain
!
interface GigabitEthernet0/1
 description the password is kept elsewhere
 ip address 10.0.0.1 255.255.255.0
 ip ospf message-digest-key 1 md5 7 S3CRET-ospf
 standby 1 authentication md5 key-string 7 S3CRET-hsrp
!
router bgp 65001
 neighbor 10.0.0.2 remote-as 65002
 neighbor 10.0.0.2 password 7 S3CRET-bgp
!
tacacs server central
 address ipv4 10.0.0.9
 timeout 5
 key 7 S3CRET-tacacs
!
radius server eduroam
 address ipv4 10.0.0.8 auth-port 1812 acct-port 1813
 key S3CRET-radius
!
tacacs-server host 10.0.0.7 key 7 S3CRET-tacacs-old
snmp-server community S3CRET-ro RO 10
snmp-server host 10.0.0.5 version 2c S3CRET-trap
ntp authentication-key 1 md5 S3CRET-ntp 7
ntp clock-period 36028797
banner motd ^C
gear#
    Nobody but staff. --More--
    This is not the end
^C
line vty 0 4
 password 7 S3CRET-vty
 login local
!
end
"""

JUNOS = b"""## Last commit: 2026-11-02 10:21:07 UTC by ops
version 21.4R3;
system {
    host-name gear;
    root-authentication {
        encrypted-password "$6$S3CRET-root"; ## SECRET-DATA
    }
    login {
        message "Only { staff\\n ops@gear> here";
        user clerk {
            authentication {
                encrypted-password "$6$S3CRET-clerk"; ## SECRET-DATA
            }
        }
    }
    radius-server {
        10.0.0.8 secret "$9$S3CRET-radius"; ## SECRET-DATA
    }
}
security {
    ike {
        policy eoc {
            pre-shared-key ascii-text "$9$S3CRET-psk"; ## SECRET-DATA
        }
    }
}
snmp {
    community S3CRET-ro {
        authorization read-only;
    }
}
protocols {
    bgp {
        group eoc {
            authentication-key "$9$S3CRET-bgp"; ## SECRET-DATA
        }
    }
}
"""

FRR = b"""Building configuration...

Current configuration:
!
frr version 8.4.4
frr defaults traditional
hostname gear
service integrated-vtysh-config
!
password S3CRET-vty
enable password 8 S3CRET-enable
!
ip route 10.1.0.0/16 10.77.1.1
!
interface eth0
 description Stra\xc3\x9fe, and a byte that is no UTF-8: \xff
 ip ospf message-digest-key 1 md5 S3CRET-ospf
exit
!
router bgp 65001
 neighbor 10.77.2.60 remote-as 65002
 neighbor 10.77.2.60 password S3CRET-bgp
exit
!
key chain rip
 key 1
  key-string S3CRET-chain
 exit
exit
!
end
"""
ALL = {"frr": FRR, "cisco-ios": IOS, "junos": JUNOS}
