"""labkit.tcp_follow finds each kind of lost byte in captures made by hand, and nothing in those of a healthy connection."""

import pathlib
import socket
import struct
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "lab"))
from labkit import pcap, tcp_follow  # noqa: E402

CLIENT, SERVER = ("10.77.0.1", 40000), ("10.77.0.2", 6379)
CLIENT6, SERVER6 = ("fd77::1", 40001), ("fd77::2", 80)
SYN, FIN, RST, ACK = pcap.SYN, pcap.FIN, pcap.RST, pcap.ACK


def frame(source, target, seq, ack, payload=b"", flags=ACK, sacks=()):
  """An Ethernet frame; checksums are left out, as a network card that fills them in would see it."""
  options = b""
  if sacks:
    options = b"\1\1" + bytes([5, 2 + 8 * len(sacks)]) + b"".join(struct.pack("!II", *s) for s in sacks)
  tcp = struct.pack("!HHIIBBHHH", source[1], target[1], seq, ack, (20 + len(options)) // 4 << 4, flags, 500, 0, 0) + options + payload
  if ":" in source[0]:
    addresses = b"".join(socket.inet_pton(socket.AF_INET6, a) for a in (source[0], target[0]))
    return b"\0" * 12 + struct.pack("!HIHBB", 0x86dd, 6 << 28, len(tcp), 6, 64) + addresses + tcp
  addresses = b"".join(socket.inet_aton(a) for a in (source[0], target[0]))
  ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + addresses + tcp
  return (b"\0" * 12 + b"\x08\0" + ip).ljust(60, b"\xee")   # Ethernet fills small frames up


class Capture:
  """A conversation, written as a pcap file; one segment each millisecond."""

  def __init__(self, client=CLIENT, server=SERVER):
    self.client, self.server, self.frames = client, server, []

  def c(self, seq, ack, payload=b"", flags=ACK, **options):
    self.frames.append(frame(self.client, self.server, seq, ack, payload, flags, **options))
    return self

  def s(self, seq, ack, payload=b"", flags=ACK, **options):
    self.frames.append(frame(self.server, self.client, seq, ack, payload, flags, **options))
    return self

  def opened(self, c=1000, s=5000):
    return self.c(c - 1, 0, flags=SYN).s(s - 1, c, flags=SYN | ACK).c(c, s)

  def follow(self, cut=None, **options):
    with tempfile.NamedTemporaryFile(suffix=".pcap") as f:
      f.write(struct.pack("<IHHiIII", 0xa1b23c4d, 2, 4, 0, 0, 262144, 1))
      for number, data in enumerate(self.frames):
        kept = data[:cut] if cut else data
        f.write(struct.pack("<IIII", 100, number * 1000000, len(kept), len(data)) + kept)
      f.flush()
      return tcp_follow.follow(f.name, **options)


class Healthy(unittest.TestCase):
  def clean(self, capture, count):
    followed = capture.follow()
    self.assertEqual([str(v) for v in followed.violations], [])
    self.assertEqual(followed.bytes, count)
    return followed

  def test_a_whole_connection(self):
    k = Capture().opened().c(1000, 5000, b"ping").s(5000, 1004, b"pong!").c(1004, 5005)
    k.c(1004, 5005, flags=FIN | ACK).s(5005, 1005, flags=FIN | ACK).c(1005, 5006)
    self.clean(k, 9)

  def test_the_same_over_ipv6(self):
    self.clean(Capture(CLIENT6, SERVER6).opened().c(1000, 5000, b"ping").s(5000, 1004, b"pong!").c(1004, 5005), 9)

  def test_numbers_wrap(self):
    top = 1 << 32
    k = Capture().opened(c=top - 2, s=top - 3).c(top - 2, top - 3, b"ping").s(top - 3, 2, b"pong!").c(2, 2).c(2, 2, b"x").s(2, 3)
    self.clean(k, 10)

  def test_sent_again_in_other_pieces(self):
    k = Capture().opened().s(5000, 1000, b"abcd").s(5004, 1000, b"efgh").s(5002, 1000, b"cdefghij").c(1000, 5010)
    self.clean(k, 10)

  def test_sent_again_after_it_was_acknowledged(self):
    k = Capture().opened().s(5000, 1000, b"abcd").c(1000, 5004).s(5000, 1000, b"abcd").c(1000, 5004, sacks=[(5000, 5004)])
    self.clean(k, 4)

  def test_out_of_order_and_sacked(self):
    k = Capture().opened().s(5004, 1000, b"efgh").c(1000, 5000, sacks=[(5004, 5008)]).s(5000, 1000, b"abcd").c(1000, 5008)
    self.clean(k, 8)

  def test_sacked_bytes_may_be_given_up(self):
    k = Capture().opened().s(5000, 1000, b"abcd").s(5004, 1000, b"efgh").c(1000, 5000, sacks=[(5004, 5008)]).c(1000, 5000)
    self.clean(k.s(5000, 1000, b"abcd").c(1000, 5004).s(5004, 1000, b"efgh").c(1000, 5008), 8)

  def test_a_probe_below_what_was_acknowledged(self):
    self.clean(Capture().opened().s(5000, 1000, b"abcd").c(1000, 5004).s(5003, 1000).c(1000, 5004), 4)

  def test_begun_before_the_capture(self):
    # 5000-5100 was on its way when the capture began; its second half is sent again
    k = Capture().s(5050, 1000, b"x" * 50).c(1000, 5100).c(1000, 5100, b"ask").s(5100, 1003, b"answer").c(1003, 5106)
    self.clean(k, 9)
    k = Capture().c(1000, 5050).s(5000, 1000, b"x" * 20).c(1000, 5100).s(5100, 1000, b"y").c(1000, 5101)
    self.clean(k, 51)

  def test_ports_used_again(self):
    k = Capture().opened().s(5000, 1000, b"abcd").c(1000, 5004).opened(c=700, s=90).c(700, 90, b"new").s(90, 703)
    followed = self.clean(k, 7)
    self.assertEqual([c.bytes for c in followed.connections], [4, 3])

  def test_much_is_forgotten_and_counted(self):
    k, piece = Capture().opened(), b"z" * 60000
    for n in range(60):
      k.s(5000 + n * 60000, 1000, piece).c(1000, 5000 + (n + 1) * 60000)
    self.clean(k, 3600000)

  def test_what_goes_through_a_moment(self):
    k = Capture().opened().s(5000, 1000, b"abcd").c(1000, 5004).s(5004, 1000, b"efgh").c(1000, 5008)
    connection, = k.follow().connections
    self.assertTrue(connection.crosses(100.0055))
    self.assertFalse(connection.crosses(100.0035))
    self.assertFalse(connection.crosses(100.0075))


class Lost(unittest.TestCase):
  def found(self, capture, kind, count=1):
    followed = capture.follow()
    self.assertEqual([v.kind for v in followed.violations], [kind] * count, [str(v) for v in followed.violations])
    first = followed.violations[0]
    self.assertIn("10.77.0.1:40000", first.connection)
    return first

  def test_an_acknowledgement_goes_back(self):
    k = Capture().opened().c(1000, 5000, b"write 17").s(5000, 1008).s(5000, 1000)
    v = self.found(k, tcp_follow.WENT_BACK)
    self.assertIn("10.77.0.2:6379 had acknowledged 1008 and now acknowledges 1000: 8 bytes are lost", str(v))
    self.assertAlmostEqual(v.time, 100.005, 6)

  def test_the_clients_too(self):
    self.found(Capture().opened().s(5000, 1000, b"abcd").c(1000, 5004).c(1000, 5003), tcp_follow.WENT_BACK)

  def test_it_goes_back_over_the_wrap(self):
    top = 1 << 32
    k = Capture().opened(c=top - 4).c(top - 4, 5000, b"12345678").s(5000, 4).s(5000, top - 2)
    self.assertIn("6 bytes are lost", str(self.found(k, tcp_follow.WENT_BACK)))

  def test_in_a_connection_begun_before_the_capture(self):
    k = Capture().c(1000, 5000, b"write 17").s(5000, 1008).s(5000, 1000, b"+OK")
    self.found(k, tcp_follow.WENT_BACK)

  def test_a_gap_below_what_was_acknowledged(self):
    k = Capture().opened().c(1000, 5000, b"abcdefgh").s(5000, 1006, sacks=[(1004, 1008)])
    self.found(k, tcp_follow.ASKS_AGAIN)
    k = Capture().opened().c(1000, 5000, b"abcdefgh").s(5000, 1006, sacks=[(1000, 1002), (1002, 1004)])
    self.found(k, tcp_follow.ASKS_AGAIN)

  def test_other_bytes_the_second_time(self):
    k = Capture().opened().s(5000, 1000, b"abcdefgh").s(5004, 1000, b"efXh").c(1000, 5008)
    self.assertIn("byte 5006 again", str(self.found(k, tcp_follow.CHANGED)))

  def test_other_bytes_after_they_were_acknowledged(self):
    k = Capture().opened().s(5000, 1000, b"abcd").c(1000, 5004).s(5000, 1000, b"abcD")
    self.found(k, tcp_follow.CHANGED)

  def test_another_end(self):
    k = Capture().opened().s(5000, 1000, b"abcd", flags=FIN | ACK).s(5004, 1000, b"more").c(1000, 5005)
    self.found(k, tcp_follow.CHANGED)

  def test_acknowledged_and_never_sent(self):
    k = Capture().opened().s(5000, 1000, b"abcd").c(1000, 5006).c(1000, 5006)
    self.assertIn("byte 5004 was never sent", str(self.found(k, tcp_follow.NEVER_SENT)))

  def test_acknowledged_over_a_gap(self):
    k = Capture().opened().s(5000, 1000, b"abcd").s(5006, 1000, b"gh").c(1000, 5008).c(1000, 5008)
    self.assertIn("byte 5004 was never sent", str(self.found(k, tcp_follow.NEVER_SENT)))

  def test_never_sent_and_sacked(self):
    k = Capture().opened().s(5000, 1000, b"abcd").c(1000, 5004, sacks=[(5010, 5020)])
    self.found(k, tcp_follow.NEVER_SENT)

  def test_never_sent_before_the_capture_is_not_known(self):
    k = Capture().s(5000, 1000, b"abcd").c(1000, 5004).c(1000, 5006)
    self.found(k, tcp_follow.NEVER_SENT)   # the two agreed on 5004: from there on everything was seen


class Limits(unittest.TestCase):
  def test_port_22_is_left_out(self):
    k = Capture(server=("10.77.0.2", 22)).opened().s(5000, 1000, b"abcd").c(1000, 5004).c(1000, 5003)
    self.assertEqual(k.follow().violations, [])
    self.assertEqual(len(k.follow(without_ports=()).violations), 1)

  def test_a_reset_is_not_an_acknowledgement(self):
    k = Capture().opened().s(5000, 1000, b"abcd").c(1000, 5004).c(1000, 0, flags=RST | ACK)
    self.assertEqual(k.follow().violations, [])

  def test_packets_cut_short_are_refused(self):
    with self.assertRaisesRegex(ValueError, "cut a packet short"):
      Capture().opened().s(5000, 1000, b"x" * 400).follow(cut=256)

  def test_a_capture_without_packets(self):
    self.assertEqual(Capture().follow().bytes, 0)


if __name__ == "__main__":
  unittest.main()
