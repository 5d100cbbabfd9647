# SPDX-License-Identifier: GPL-2.0-or-later
"""The torture messages of RFC 4475: one of our own for each of its sections, with the same thing in it that is hard to
read or wrong, and what it means for a dialog module.

    TRACKED   a valid first INVITE: there is a dialog
    NOTHING   no dialog comes of it: another method, a reply, a request inside a call, or beyond reading
    MAYBE     whether it is let in is the host's matter: a dialog or none, but never a trace of it afterwards
"""

TRACKED, NOTHING, MAYBE = "tracked", "nothing", "maybe"

MESSAGES = []  # (section, name, what the module must do, bytes)


def add(section, name, want, start, *lines, body=b"", length=True):
    """`lines`: text or bytes, header lines as they are; {n} is a number that no other message has."""
    n = len(MESSAGES) + 1
    out = [start] + list(lines)
    if length:
        out.append("Content-Length: %d" % len(body))
    raw = [(x.replace("{n}", str(n)).encode() if isinstance(x, str) else x) for x in out]
    MESSAGES.append((section, name, want, b"\r\n".join(raw) + b"\r\n\r\n" + body))


def usual(method, *more, to="<sip:bob@example.org>", cseq=1, contact=True, via=True):
    lines = ["Via: SIP/2.0/UDP torture.example.com;branch=z9hG4bKt{n}"] if via else []
    lines += ["Max-Forwards: 70", "From: <sip:alice@example.com>;tag=t{n}", "To: " + to, "Call-ID: torture-{n}",
              "CSeq: %s %s" % (cseq, method)]
    return lines + (["Contact: <sip:alice@192.0.2.9>"] if contact else []) + list(more)


SDP = (b"v=0\r\no=a 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n")

# -- 3.1.1 valid, but hard to read

add("3.1.1.1", "short tortuous INVITE", NOTHING, "INVITE sip:bob@example.org;odd-param SIP/2.0",
    "TO :\r\n sip:bob@example.org ;   tag    = tort{n}b",
    'from   : "A \\\\\\" quoted"       <sip:alice@example.com>\r\n  ;\r\n  tag = t{n}',
    "MaX-fOrWaRdS: 0068", "Call-ID: torture-{n}", "cseq: 0009\r\n  INVITE",
    "Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw{n}", "s :", "NewFangledHeader:   newfangled value\r\n continued",
    "UnknownHeaderWithUnusualValue: ;;,,;;,;", "Content-Type: application/sdp", "Route:\r\n <sip:services.example.com;lr;a=b%%20c>",
    "v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n SIP  /    2.0   / UDP  192.168.255.111   ;"
    " branch=\r\n z9hG4bK30239", 'm:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n  secondparam ;'
    " q = 0.33", body=SDP)
add("3.1.1.2", "all the characters there may be", NOTHING, "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)"
    "&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0",
    *usual("!interesting-Method0123456789_*+`.%indeed'~",
           "extensionHeader-!.%*+_`'~:\ufeff\u5927\u505c\u96fb",
           to='"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:1_unusual.URI~(to-be!sure)&isn\'t+it$/crazy?,/;;*@example.com>'))
add("3.1.1.3", "escapes in URIs", TRACKED, "INVITE sip:sips%3Auser%40example.com@example.org SIP/2.0",
    *usual("INVITE", to="sip:%75se%72@example.org", contact=False), "Contact: <sip:cal%6Cer@192.0.2.9;%6C%72;n%61me=v%61lue%25%34%31>")
add("3.1.1.4", "escaped NUL in URIs", NOTHING, "REGISTER sip:example.com SIP/2.0",
    *usual("REGISTER", to="sip:null-%00-null@example.com", contact=False), "Contact: <sip:%00@192.0.2.9>", "Contact: <sip:%00%00@192.0.2.9>")
add("3.1.1.5", "% that is no escape", NOTHING, "RE%47IST%45R sip:example.com SIP/2.0",
    *usual("RE%47IST%45R", to='"%Z%45" <sip:resource@example.com>'))
add("3.1.1.6", "no blank after the display name", NOTHING, "OPTIONS sip:bob@example.org SIP/2.0",
    "Via: SIP/2.0/UDP torture.example.com;branch=z9hG4bKt{n}", "Max-Forwards: 70", "From: caller<sip:alice@example.com>;tag=t{n}",
    "To: sip:bob@example.org", "Call-ID: torture-{n}", "CSeq: 60 OPTIONS")
add("3.1.1.7", "long values", TRACKED, "INVITE sip:bob@example.org SIP/2.0",
    "To: \"I have a user name of " + "extreme" * 10 + " proportion\"<sip:bob@example.org:6000;unknownparam1=very" + "long" * 20 +
    "value;longparam" + "name" * 25 + "=shortvalue;very" + "long" * 25 + "ParameterNameWithNoValue>",
    "F: sip:amazinglylongcallername" + "x" * 250 + "@example.net;tag=12" + "982" * 50 + "424;unknownheaderparam" + "name" * 20 +
    "=unknowheaderparam" + "value" * 15 + ";unknownValueless" + "paramname" * 10, "Call-ID: longreq.one" + "really" * 20 + "longcallid-{n}",
    "CSeq: 3882340 INVITE", "Unknown-" + "Long" * 20 + "-Name: unknown-" + "long" * 20 + "-value; unknown-" + "long" * 20 + "-parameter-name",
    "Via: SIP/2.0/UDP torture.example.com;branch=very" + "long" * 50 + "branchvalue{n}", "Max-Forwards: 70",
    *["Via: SIP/2.0/TCP sip%d.example.com" % i for i in range(20)],
    "Contact: <sip:amazinglylongcallername" + "y" * 200 + "@host5.example.net>", "Content-Type: application/sdp", body=SDP)
add("3.1.1.8", "a second message behind the first", NOTHING, "REGISTER sip:example.com SIP/2.0", *usual("REGISTER"),
    "Content-Length: 0", "", "INVITE sip:joe@example.com SIP/2.0", *usual("INVITE"), length=True)
add("3.1.1.9", "semicolons in the user part", NOTHING, "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0", *usual("OPTIONS"))
add("3.1.1.10", "unknown transports", NOTHING, "OPTIONS sip:bob@example.org SIP/2.0", "Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bKt{n}",
    "Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKb", "Via: SIP/2.0/TLS t3.example.com;branch=z9hG4bKc",
    "Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKd", "Via: SIP/2.0/TCP t5.example.com;branch=z9hG4bKe", *usual("OPTIONS", via=False))
add("3.1.1.11", "multipart body", NOTHING, "MESSAGE sip:bob@example.org SIP/2.0", *usual("MESSAGE", contact=False),
    "Content-Type: multipart/mixed;boundary=7a9cbec02ceef655",
    body=b"--7a9cbec02ceef655\r\nContent-Type: text/plain\r\n\r\nHello\r\n--7a9cbec02ceef655\r\nContent-Type: application/octet-stream\r\n\r\n"
    + bytes(range(256)) + b"\r\n--7a9cbec02ceef655--")
add("3.1.1.12", "unusual reason phrase", NOTHING, "SIP/2.0 200 = 2**3 * 5**2 \u043d\u043e \u0441\u0442\u043e", *usual("INVITE", to="<sip:bob@example.org>;tag=b{n}"))
add("3.1.1.13", "empty reason phrase", NOTHING, "SIP/2.0 100 ", *usual("INVITE", to="<sip:bob@example.org>;tag=b{n}"))

# -- 3.1.2 invalid

add("3.1.2.1", "separators without anything between", MAYBE, "INVITE sip:bob@example.org SIP/2.0",
    "Via: SIP/2.0/UDP torture.example.com;;,;,,", *usual("INVITE", via=False), 'Contact: "Joe" <sip:joe@example.org>;;;;')
add("3.1.2.2", "Content-Length beyond the datagram", MAYBE, "INVITE sip:bob@example.org SIP/2.0", *usual("INVITE"),
    "Content-Type: application/sdp", "Content-Length: 9999", body=SDP, length=False)
add("3.1.2.3", "negative Content-Length", MAYBE, "INVITE sip:bob@example.org SIP/2.0", *usual("INVITE"),
    "Content-Type: application/sdp", "Content-Length: -999", body=SDP, length=False)
add("3.1.2.4", "numbers that are too large, in a request", NOTHING, "REGISTER sip:example.com SIP/2.0",
    *usual("REGISTER", cseq=36893488147419103232, contact=False)[:1], "Max-Forwards: 300", *usual("REGISTER", cseq=36893488147419103232, via=False)[1:],
    "Expires: 1" + "0" * 40, "Contact: <sip:a@192.0.2.9>;expires=280297596632815")
add("3.1.2.5", "numbers that are too large, in a reply", NOTHING, "SIP/2.0 503 Service Unavailable",
    *usual("OPTIONS", cseq=9292394834772304023312, to="<sip:bob@example.org>;tag=b{n}"), "Retry-After: 949302838503028349304023988",
    "Warning: 1812 overture \"In Progress\"")
add("3.1.2.6", "display name without its last quote", MAYBE, "INVITE sip:bob@example.org SIP/2.0", *usual("INVITE", to='"Mr. Bob <sip:bob@example.org>'))
add("3.1.2.7", "Request-URI in angle brackets", MAYBE, "INVITE <sip:bob@example.org> SIP/2.0", *usual("INVITE"))
add("3.1.2.8", "blank in the Request-URI", MAYBE, "INVITE sip:bob@example.org; lr SIP/2.0", *usual("INVITE"))
add("3.1.2.9", "several blanks in the request line", MAYBE, "INVITE  sip:bob@example.org  SIP/2.0", *usual("INVITE"))
add("3.1.2.10", "blanks behind the request line", NOTHING, "OPTIONS sip:bob@example.org SIP/2.0  ", *usual("OPTIONS"))
add("3.1.2.11", "headers in the Request-URI", MAYBE, "INVITE sip:bob@example.org?Route=%3Csip:example.com%3E SIP/2.0", *usual("INVITE"))
add("3.1.2.12", "a time zone that SIP does not know", TRACKED, "INVITE sip:bob@example.org SIP/2.0", *usual("INVITE"), "Date: Fri, 01 Jan 2010 16:00:00 EST")
add("3.1.2.13", "Contact with headers and no brackets", NOTHING, "REGISTER sip:example.com SIP/2.0",
    *usual("REGISTER", contact=False), "Contact: sip:alice@192.0.2.9?Route=%3Csip:sip.example.com%3E")
add("3.1.2.14", "blanks inside an address", NOTHING, "OPTIONS sip:bob@example.org SIP/2.0", *usual("OPTIONS", to='"Watson, Thomas" < sip:bob@example.org >'))
add("3.1.2.15", "display name that is no token", NOTHING, "OPTIONS sip:bob@example.org SIP/2.0", *usual("OPTIONS", to="Bell, Alexander <sip:bob@example.org>;tag=b{n}"))
add("3.1.2.16", "another version of the protocol", MAYBE, "OPTIONS sip:bob@example.org SIP/7.0", *[x.replace("SIP/2.0", "SIP/7.0") for x in usual("OPTIONS")])
add("3.1.2.17", "methods of start line and CSeq differ", NOTHING, "OPTIONS sip:bob@example.org SIP/2.0", *usual("INVITE"))
add("3.1.2.18", "the same with an unknown method", NOTHING, "NEWMETHOD sip:bob@example.org SIP/2.0", *usual("INVITE"))
add("3.1.2.19", "reply code that is too large", NOTHING, "SIP/2.0 4294967301 better not break the receiver", *usual("INVITE", to="<sip:bob@example.org>;tag=b{n}"))

# -- 3.2 transactions

add("3.2.1", "branch that is only the cookie", NOTHING, "OPTIONS sip:bob@example.org SIP/2.0", "Via: SIP/2.0/UDP torture.example.com;branch=z9hG4bK",
    *usual("OPTIONS", via=False))

# -- 3.3 what the application has to look at

add("3.3.1", "required headers missing", MAYBE, "INVITE sip:bob@example.org SIP/2.0", "CSeq: 193942 INVITE",
    "Via: SIP/2.0/UDP torture.example.com;branch=z9hG4bKt{n}", "Content-Type: application/sdp", body=SDP)
add("3.3.2", "unknown scheme", NOTHING, "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", *usual("OPTIONS"))
add("3.3.3", "known scheme, but not for this", NOTHING, "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", *usual("OPTIONS"))
add("3.3.4", "unknown schemes in headers", NOTHING, "REGISTER sip:example.com SIP/2.0",
    *usual("REGISTER", to="isbn:2983792873", contact=False), "Contact: <name:John_Smith>")
add("3.3.5", "unknown extensions required", NOTHING, "OPTIONS sip:bob@example.org SIP/2.0", *usual("OPTIONS"), "Require: nothingSupportsThis, nothingSupportsThisEither",
    "Proxy-Require: noProxiesSupportThis, norDoAnyProxiesSupportThis")
add("3.3.6", "unknown kind of body", TRACKED, "INVITE sip:bob@example.org SIP/2.0", *usual("INVITE"), "Content-Type: application/unknownformat",
    body=b"<audio><pcmu port=\"443\"/></audio>\r\n")
add("3.3.7", "unknown way to authenticate", NOTHING, "REGISTER sip:example.com SIP/2.0", *usual("REGISTER"),
    "Authorization: NoOneKnowsThisScheme opaque-data=here")
add("3.3.8", "headers that may be there once only", MAYBE, "INVITE sip:bob@example.org SIP/2.0", *usual("INVITE"),
    "CSeq: 59 INVITE", "Call-ID: another-{n}", "Call-ID: third-{n}", "Max-Forwards: 5", "From: <sip:other@example.com>;tag=o{n}",
    "To: <sip:other@example.org>")
add("3.3.9", "two lengths", NOTHING, "OPTIONS sip:bob@example.org SIP/2.0", *usual("OPTIONS"), "Content-Length: 13", "Content-Length: 5",
    body=b"There's no way", length=False)
add("3.3.10", "reply by way of a broadcast address", NOTHING, "SIP/2.0 200 OK", "Via: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bKt{n}",
    "Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23", *usual("INVITE", via=False, to="<sip:bob@example.org>;tag=b{n}"))
add("3.3.11", "no hops left", NOTHING, "OPTIONS sip:bob@example.org SIP/2.0", "Max-Forwards: 0", *[x for x in usual("OPTIONS") if "Max-F" not in x])
add("3.3.12", "Contact with a parameter of its own", NOTHING, "REGISTER sip:example.com SIP/2.0", *usual("REGISTER", contact=False),
    "Contact: sip:+19725552222@gw1.example.net;unknownparam")
add("3.3.13", "URI with a parameter of its own", NOTHING, "REGISTER sip:example.com SIP/2.0", *usual("REGISTER", contact=False),
    "Contact: <sip:+19725552222@gw1.example.net;unknownparam>")
add("3.3.14", "Contact with headers", NOTHING, "REGISTER sip:example.com SIP/2.0", *usual("REGISTER", contact=False),
    "Contact: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>")
add("3.3.15", "Accept without SDP", TRACKED, "INVITE sip:bob@example.org SIP/2.0", *usual("INVITE"), "Accept: text/nobodyKnowsThis",
    "Content-Type: application/sdp", body=SDP)

# -- 3.4 older than the RFC

add("3.4.1", "INVITE of RFC 2543", MAYBE, "INVITE sip:bob@example.org SIP/2.0", "Via: SIP/2.0/UDP torture.example.com",
    "From: <sip:alice@example.com>", "To: sip:bob@example.org", "Call-ID: torture-{n}@192.0.2.9", "CSeq: 1 INVITE",
    "Content-Type: application/sdp", body=SDP)


def within(raw, call_lines):
    """The message as one of a call: its Call-ID, From, To and Route instead of its own; the rest as it is."""
    head, sep, body = raw.partition(b"\r\n\r\n")
    lines, skip = [], False
    for i, line in enumerate(head.split(b"\r\n")):
        if i and line[:1] in (b" ", b"\t"):
            if not skip:
                lines.append(line)
            continue
        name = line.partition(b":")[0].strip().lower()
        skip = i > 0 and name in (b"call-id", b"i", b"from", b"f", b"to", b"t", b"route")
        if not skip:
            lines.append(line)
    return b"\r\n".join(lines[:1] + list(call_lines) + lines[1:]) + sep + body
