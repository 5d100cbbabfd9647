# SPDX-License-Identifier: GPL-2.0-or-later
"""validate_dialog(): forged requests are refused and change nothing, good ones pass."""

import time

from base import CONFIRMED, CONFIRMED_NA, DELETED, DOWN, EARLY, UP, ProxyCase, say

GUARD = """
	if (validate_dialog()) {
		%s
	} else {
		%s
		if (!is_method("ACK")) sl_send_reply("403", "Bogus");
		exit;
	}
""" % (say("valid $rm $cs"), say("bogus $rm $cs"))


class Guarded(ProxyCase):
    hooks = {"seq": GUARD}
    seconds = 15

    def up_call(self, cseq=10, **kw):
        c = self.call(cseq=cseq, **kw)
        c.setup()
        self.wait_state(c, CONFIRMED)
        return c

    def valid(self, c, method="INFO", way=DOWN, **kw):
        return c.exchange(method, way, **kw)

    def bogus(self, c, method="INFO", way=DOWN, **kw):
        c.refused(method, way, 403, **kw)

    def frozen(self, c):
        """What of a dialog no refused request may change."""
        d = self.dialog(c, "dlg_list_ctx")
        return {k: v for k, v in d.items() if k != "timeout"}, abs(int(d["timeout"]) - time.time())


class Forged(Guarded):
    def test_d04_refused_byes_change_nothing(self):
        c = self.up_call()
        before, left = self.frozen(c)
        routes = c.routes_down
        mallory = self.agent("mallory")
        for way in (DOWN, UP):
            if way == UP:
                c.cseq[UP] = 100
                self.valid(c, "INFO", UP)
                before, left = self.frozen(c)
                routes = c.routes_up
            last = 10 if way == DOWN else c.cseq[UP]
            with self.subTest(way=way):
                self.bogus(c, "BYE", way, cseq=last)
                self.bogus(c, "BYE", way, cseq=last - 1)
                self.bogus(c, "BYE", way, cseq=1)
                self.bogus(c, "BYE", way, cseq=0)
                self.bogus(c, "BYE", way, cseq=last + 1, ruri=mallory.uri())
                self.bogus(c, "BYE", way, cseq=last + 1, routes=routes + ["<sip:%s;lr>" % mallory.addr])
                time.sleep(0.1)
                self.assertEqual(self.frozen(c)[0], before)
                self.assertStats(processed=1, active=1)
        mallory.silent(0.1)
        self.valid(c, "INFO")
        c.hangup()
        self.wait_state(c, DELETED)
        self.assertStats(processed=1)

    def test_d04_bye_refused_statefully_or_dropped(self):
        """Without validate_dialog(): whatever reason the script has."""
        for header in ("X-Refuse", "X-Refuse-T"):
            c = self.up_call()
            before, _ = self.frozen(c)
            c.refused("BYE", code=404, headers=[[header, "404"]])
            self.stays(c, CONFIRMED)
            self.assertEqual(self.frozen(c)[0], before)
            self.assertStats(processed=1, active=1)
            c.send("BYE", headers=[["X-Drop", "1"]])
            c.b.silent(0.2)
            self.assertEqual(self.frozen(c)[0], before)
            c.hangup()
            self.wait_state(c, DELETED)
            self.start_stats = self.proxy.stats()

    def test_d05_bye_is_judged_against_the_last_request(self):
        c = self.up_call(10)
        self.bogus(c, "BYE", cseq=1)
        self.bogus(c, "BYE", cseq=9)
        self.bogus(c, "BYE", cseq=10)
        self.valid(c, "INFO", cseq=11)
        self.valid(c, "INFO", cseq=12)
        self.bogus(c, "BYE", cseq=12)
        self.bogus(c, "BYE", cseq=11)
        self.stays(c, CONFIRMED)
        c.hangup(cseq=13)
        self.wait_state(c, DELETED)

    def test_d05_from_the_callee(self):
        c = self.up_call(10)
        self.valid(c, "INFO", UP, cseq=100)
        self.bogus(c, "BYE", UP, cseq=50)
        self.bogus(c, "BYE", UP, cseq=100)
        c.hangup(UP, cseq=101)
        self.wait_state(c, DELETED)

    def test_d06_low_numbers_do_not_reopen_the_range(self):
        c = self.up_call(10)
        self.valid(c, cseq=11)
        self.bogus(c, cseq=5)
        self.bogus(c, cseq=6)
        self.bogus(c, cseq=11)
        self.assertEqual(self.dialog(c)["legs"][0]["caller_cseq"], "11")
        self.valid(c, cseq=12)
        self.valid(c, cseq=1000000)
        self.valid(c, cseq=2147483646)
        self.bogus(c, cseq=1000001)
        c.hangup(cseq=2147483647)

    def test_d06_own_bye_uses_the_highest_number_seen(self):
        """Low requests that are let through (no validation) leave the reference alone, too."""
        c = self.up_call(10)
        self.valid(c, cseq=50)
        self.bogus(c, cseq=40)
        d = self.dialog(c)
        self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id)
        bye = c.b.recv("BYE")
        self.assertEqual(bye.cseq, 51)
        c.b.reply(bye, 200)
        c.a.reply(c.a.recv("BYE"), 200)
        self.wait_state(c, DELETED)

    def test_first_request_of_the_callee_may_have_any_number(self):
        for cseq in (1, 4711):
            c = self.up_call()
            self.valid(c, "INFO", UP, cseq=cseq)
            self.bogus(c, "INFO", UP, cseq=cseq)
            c.hangup(UP, cseq=cseq + 1)

    def test_ack(self):
        c = self.call(cseq=10)
        c.ring()
        c.answer(200)
        c.got(200)
        for bad in (9, 11):
            c.send("ACK", cseq=bad)
            self.said(c, "bogus ACK %d" % bad)
        self.assertEqual(self.state(c), CONFIRMED_NA)
        self.valid(c, "INFO", cseq=12)
        c.ack()
        self.said(c, "valid ACK 10")
        self.wait_state(c, CONFIRMED)
        c.b.silent(0, "ACK")
        _, ok = self.valid(c, "INVITE", cseq=20)
        c.send("ACK", cseq=10)
        self.said(c, "bogus ACK 10")
        c.send("ACK", cseq=20)
        self.said(c, "valid ACK 20")
        c.hangup(cseq=21)

    def test_retransmissions_are_not_forgeries(self):
        """The same request again, before and after its answer."""
        c = self.up_call()
        for method in ("INFO", "BYE"):
            sent = c.send(method)
            req = c.b.recv(method)
            c.a.send(sent, c.to_proxy)
            time.sleep(0.1)
            c.b.reply(req, 200)
            c.a.recv(lambda m, n=sent.cseq: m.code == 200 and m.cseq == n)
            c.a.send(sent, c.to_proxy)
            c.a.silent(0.2, 403)
        self.wait_state(c, DELETED)

    def test_the_ack_of_an_answer_by_the_script_ends_its_repetition(self):
        """A re-INVITE that was never forwarded is acknowledged to the proxy alone."""
        c = self.up_call()
        sent = c.send("INVITE", headers=[["X-Refuse-T", "488"]])
        rpl = c.a.recv(488)
        repeats = c.a.repeats
        c.ack_negative(rpl, sent)
        c.a.silent(2)
        self.assertEqual(c.a.repeats, repeats)
        c.b.silent(0)
        self.valid(c, "INFO")
        c.hangup()

    def test_contact(self):
        c = self.up_call()
        good = c.b_contact
        host = good.split("@")[1]
        for bad in ("sip:mallory@" + host, "sip:bob@127.0.0.1:9", "sip:bob@" + host.split(":")[0] + ":9",
                    "sip:" + host, "sips:bob@" + host, good + ";transport=tcp"):
            self.bogus(c, ruri=bad)
        self.valid(c, ruri=good + ";unknown=x")
        self.valid(c, "INFO", UP)
        self.bogus(c, "INFO", UP, ruri="sip:mallory@" + c.a.addr)
        # the Contact header of a request that is no target refresh says nothing
        self.valid(c, contact="sip:else@10.0.0.1")
        self.valid(c, ruri=good)
        c.hangup()

    def test_d24_user_part_is_case_sensitive(self):
        c = self.up_call()
        self.bogus(c, ruri=c.b_contact.replace("bob", "BOB"))
        self.bogus(c, "BYE", ruri=c.b_contact.replace("bob", "Bob"))
        self.stays(c, CONFIRMED)
        c.hangup()

    def test_early_dialog(self):
        c = self.call(cseq=10)
        c.ring()
        c.answer(183)
        c.learn(c.got(183))
        self.valid(c, "PRACK")
        self.valid(c, "UPDATE")
        self.stays(c, EARLY)
        c.answer(200)
        c.got(200)
        self.valid(c, "INFO")
        c.ack()
        self.wait_state(c, CONFIRMED)
        c.hangup()

    def test_unknown_dialog_is_not_valid(self):
        c = self.up_call()
        self.bogus(c, call_id="other@e2e")
        self.bogus(c, ttag="wrong")
        c.hangup()


class Routes(Guarded):
    def with_hops(self):
        c = self.call(cseq=10)
        c.a_hop, c.b_hop = c.ua("p1"), c.ua("p2")
        c.upstream = ["<sip:%s;lr>" % c.a_hop.addr]
        c.downstream = ["<sip:%s;lr>" % c.b_hop.addr]
        c.setup()
        self.wait_state(c, CONFIRMED)
        return c

    def test_good_requests_pass_through_foreign_proxies(self):
        c = self.with_hops()
        for way in (DOWN, UP):
            self.valid(c, "INFO", way)
            _, ok = self.valid(c, "INVITE", way)
            c.send("ACK", way, cseq=ok.cseq)
            c.far(way).recv("ACK")
        c.hangup(UP)
        self.wait_state(c, DELETED)

    def test_foreign_routes_are_refused(self):
        c = self.with_hops()
        ours = c.routes_down[:1]
        theirs = c.routes_down[1]
        stranger = self.agent("stranger")
        for bad in (ours, ours + ["<sip:%s;lr>" % stranger.addr], ours + [theirs, "<sip:%s;lr>" % stranger.addr],
                    ours + [theirs, theirs], ours + ["<sip:%s;lr>" % stranger.addr, theirs]):
            self.bogus(c, "BYE", routes=bad)
            self.bogus(c, "INFO", routes=bad)
        for bad in (c.routes_up[:1], c.routes_up[:1] + [theirs]):
            self.bogus(c, "BYE", UP, routes=bad)
        self.stays(c, CONFIRMED)
        stranger.silent(0)
        self.valid(c, routes=ours + [theirs.replace(";lr", ";lr;unknown=1")])
        c.hangup()
        self.wait_state(c, DELETED)

    def test_route_where_there_was_none(self):
        c = self.up_call()
        self.bogus(c, "BYE", routes=c.routes_down + ["<sip:10.9.9.9;lr>"])
        self.stays(c, CONFIRMED)
        c.hangup()


class TargetRefresh(Guarded):
    def refresh(self, c, method, way, contact, code=200):
        sent = c.send(method, way, contact=contact)
        req = c.far(way).recv(lambda m: m.method == method and m.is_request)
        return sent, req

    def finish_refresh(self, c, method, way, sent, req, code, contact=None):
        headers = [["Contact", "<%s>" % contact]] if contact else []
        c.far(way).reply(req, code, headers=headers)
        rpl = c.near(way).recv(lambda m: m.code == code and m.cseq == sent.cseq)
        if method == "INVITE" and code == 200:
            c.send("ACK", way, cseq=sent.cseq)
            c.far(way).recv("ACK")
        elif method == "INVITE":
            ack = c.build("ACK", way, cseq=sent.cseq)
            ack.headers[0][1] = sent.get("Via")
            c.near(way).send(ack, c.to_proxy)
        return rpl

    def check(self, method, way):
        c = self.up_call()
        moved = c.ua("moved")
        old = c.a_contact if way == DOWN else c.b_contact
        new = moved.uri("alice" if way == DOWN else "bob")
        back = UP if way == DOWN else DOWN
        field = (lambda: self.dialog(c)["caller_contact"]) if way == DOWN \
            else (lambda: self.dialog(c)["legs"][0]["callee_contact"])
        # refused by the far end: nothing changes
        sent, req = self.refresh(c, method, way, new)
        self.assertEqual(field(), old)
        self.finish_refresh(c, method, way, sent, req, 488)
        self.valid(c, "INFO", back, ruri=old)
        self.bogus(c, "INFO", back, ruri=new)
        # accepted: changes with the 2xx, not before
        sent, req = self.refresh(c, method, way, new)
        time.sleep(0.05)
        self.assertEqual(field(), old)
        self.finish_refresh(c, method, way, sent, req, 200)
        self.wait_until("the new contact", lambda: field() == new)
        self.valid(c, "INFO", back, ruri=new, to=moved)
        self.bogus(c, "INFO", back, ruri=old)
        # our own BYE goes to the new place
        d = self.dialog(c)
        self.assertEqual(self.proxy.fifo.cmd("dlg_end_dlg", d.entry, d.id), "200 OK\n\n")
        bye = moved.recv("BYE")
        self.assertEqual(bye.ruri, new)
        moved.reply(bye, 200)
        far = c.far(way)
        far.reply(far.recv("BYE"), 200)
        self.wait_state(c, DELETED)

    def test_d07_reinvite_of_the_caller(self):
        self.check("INVITE", DOWN)

    def test_d07_reinvite_of_the_callee(self):
        self.check("INVITE", UP)

    def test_d07_update_of_the_caller(self):
        self.check("UPDATE", DOWN)

    def test_d07_update_of_the_callee(self):
        self.check("UPDATE", UP)

    def test_d07_the_2xx_refreshes_the_answering_side(self):
        c = self.up_call()
        moved = c.ua("moved")
        new = moved.uri("bob")
        sent, req = self.refresh(c, "INVITE", DOWN, None)
        self.finish_refresh(c, "UPDATE", DOWN, sent, req, 200, new)
        self.wait_until("the new contact", lambda: self.dialog(c)["legs"][0]["callee_contact"] == new)
        c.b_contact, c.b = new, moved
        c.send("ACK", cseq=sent.cseq)
        moved.recv("ACK")
        self.valid(c, "INFO")
        c.hangup()
        self.wait_state(c, DELETED)

    def test_d07_refused_by_the_script(self):
        c = self.up_call()
        c.refused("UPDATE", code=404, contact="sip:alice@10.1.1.1", headers=[["X-Refuse", "404"]])
        time.sleep(0.1)
        self.assertEqual(self.dialog(c)["caller_contact"], c.a_contact)
        self.valid(c, "INFO", UP)
        c.hangup()


class Unasked(ProxyCase):
    """validate_dialog() where there is nothing to validate."""

    seconds = 8
    hooks = {
        "initial": "if (validate_dialog()) { %s } else { %s }\n\trecord_route();\n\tcreate_dialog();\n\t"
                   "if (validate_dialog()) { %s } else { %s }" % (
                       say("before yes"), say("before no"), say("after yes"), say("after no")),
        "before_loose": "if (validate_dialog()) { %s } else { %s }" % (say("early $rm yes"), say("early $rm no")),
    }

    def test_on_the_initial_request_and_before_loose_route(self):
        c = self.call().setup()
        self.said(c, "before no")
        self.said(c, "after no")
        self.wait_state(c, CONFIRMED)
        self.said(c, "early ACK no")
        c.hangup()
        self.said(c, "early BYE no")
        self.wait_state(c, DELETED)
