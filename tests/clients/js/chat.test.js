// matrix-js-sdk lives on a node. Run by tests/clients/test_js_sdk.py, which says where the regions are.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { login, register, sees, timeline, until } from "./person.js";

const REGIONS = ["cn", "eu", "ru"];
const started = [];
let people = 0;

async function person(region) {
    people += 1;
    const client = await register(region, `${process.env.PREFIX}${people}`);
    started.push(client);
    return client;
}

after(() => started.forEach((client) => client.stopClient()));

const membership = (client, roomId) => client.getRoom(roomId)?.getMyMembership();

test("a chat across three regions", async () => {
    const [alice, bob, carol] = await Promise.all(REGIONS.map(person));
    assert.match(carol.getUserId(), /:ru\.localhost$/);
    const invite = [bob.getUserId(), carol.getUserId()];
    const { room_id: room } = await alice.createRoom({ name: "Courtyard", topic: "persimmons", invite });
    for (const guest of [bob, carol]) {
        await until(guest, () => membership(guest, room) === "invite", "the invitation");
        await guest.joinRoom(room);
        await until(guest, () => membership(guest, room) === "join", "having joined");
        assert.equal(guest.getRoom(room).name, "Courtyard");
    }

    const { event_id: said } = await carol.sendTextMessage(room, "чай?");
    for (const client of [alice, bob, carol]) {
        assert.equal((await sees(client, room, said)).getContent().body, "чай?");
    }
    const { event_id: replied } = await alice.sendMessage(room, {
        msgtype: "m.text",
        body: "茶!",
        "m.relates_to": { "m.in_reply_to": { event_id: said } },
    });
    const { event_id: reacted } = await bob.sendEvent(room, "m.reaction", {
        "m.relates_to": { rel_type: "m.annotation", event_id: replied, key: "🍵" },
    });
    const { event_id: edited } = await carol.sendMessage(room, {
        msgtype: "m.text",
        body: "* чай с вареньем?",
        "m.new_content": { msgtype: "m.text", body: "чай с вареньем?" },
        "m.relates_to": { rel_type: "m.replace", event_id: said },
    });
    await sees(bob, room, edited); // before bob's own words, or his client shows them first until it has synced
    const { event_id: slip } = await bob.sendTextMessage(room, "wrong room");
    const { event_id: redaction } = await bob.redactEvent(room, slip, undefined, { reason: "wrong room" });

    for (const client of [alice, bob, carol]) {
        await sees(client, room, redaction);
        assert.equal((await sees(client, room, replied)).replyEventId, said);
        const relations = client.getRoom(room).relations;
        const reactions = relations.getChildEventsForEvent(replied, "m.annotation", "m.reaction");
        assert.deepEqual(reactions.getSortedAnnotationsByKey().map(([key, all]) => [key, all.size]), [["🍵", 1]]);
        assert.equal((await sees(client, room, reacted)).getSender(), bob.getUserId());
        const original = await sees(client, room, said);
        await until(client, () => original.replacingEventId() === edited, "the edit");
        assert.equal(original.getContent().body, "чай с вареньем?");
        const taken = await sees(client, room, slip);
        await until(client, () => taken.isRedacted(), "the redaction");
        assert.deepEqual(taken.getContent(), {});
        const texts = timeline(client, room).filter((event) => event.getType() === "m.room.message");
        assert.deepEqual(texts.map((event) => event.getId()), [said, replied, edited, slip], "each once, in order");
    }
});

test("paging back reads the whole room once", async () => {
    const [alice, carol] = await Promise.all(["cn", "ru"].map(person));
    const { room_id: room } = await alice.createRoom({ preset: "public_chat" });
    const sent = [];
    for (let n = 0; n < 35; n += 1) sent.push((await alice.sendTextMessage(room, String(n))).event_id);
    await carol.joinRoom(room);
    await until(carol, () => membership(carol, room) === "join", "having joined");
    const known = carol.getRoom(room);
    while (known.oldState.paginationToken !== null) await carol.scrollback(known, 7);
    const read = timeline(carol, room).map((event) => event.getId());
    assert.deepEqual(read.filter((id) => sent.includes(id)), sent);
    assert.equal(new Set(read).size, read.length);
    assert.equal(timeline(carol, room)[0].getType(), "m.room.create");
});

test("two devices of one person stay together", async () => {
    const [alice, bob] = await Promise.all(["cn", "eu"].map(person));
    const second = await login("eu", bob.getUserId());
    started.push(second);
    assert.notEqual(second.getDeviceId(), bob.getDeviceId());
    const { room_id: room } = await alice.createRoom({ invite: [bob.getUserId()] });
    await until(second, () => membership(second, room) === "invite", "the invitation on the second device");
    await bob.joinRoom(room);
    const { event_id: asked } = await alice.sendTextMessage(room, "which of you is it?");
    await sees(second, room, asked);
    const { event_id: answered } = await second.sendTextMessage(room, "the second");
    const heard = await sees(bob, room, answered);
    assert.equal(heard.getSender(), bob.getUserId());
    const { event_id: last } = await bob.sendTextMessage(room, "and the first");
    await sees(second, room, last);
    assert.equal(timeline(second, room).filter((event) => event.getId() === answered).length, 1);
});

test("typing, receipts and unread counts", async () => {
    const [alice, bob] = await Promise.all(["cn", "eu"].map(person));
    const { room_id: room } = await alice.createRoom({ preset: "public_chat" });
    await bob.joinRoom(room);
    await until(bob, () => membership(bob, room) === "join", "having joined");
    const { event_id: said } = await alice.sendTextMessage(room, "hello?");
    const event = await sees(bob, room, said);
    await until(bob, () => bob.getRoom(room).getUnreadNotificationCount("total") === 1, "one unread message");
    await bob.sendTyping(room, true, 20_000);
    await until(alice, () => alice.getRoom(room).getMember(bob.getUserId())?.typing, "bob typing");
    await bob.sendReadReceipt(event);
    await until(alice, () => alice.getRoom(room).getEventReadUpTo(bob.getUserId()) === said, "bob's receipt");
    await until(bob, () => bob.getRoom(room).getUnreadNotificationCount("total") === 0, "nothing unread");
});

test("a room is found by its alias and in the list", async () => {
    const [alice, bob] = [await person("cn"), await person("eu")];
    const name = `${process.env.PREFIX}plaza`;
    const alias = `#${name}:cn.localhost`;
    const { room_id: room } = await alice.createRoom({
        preset: "public_chat",
        visibility: "public",
        name: `The ${name}`,
        topic: "persimmons",
        room_alias_name: name,
    });
    assert.deepEqual(await bob.getRoomIdForAlias(alias), { room_id: room, servers: ["cn.localhost"] });
    const filter = { generic_search_term: name };
    const { chunk, total_room_count_estimate: count } = await bob.publicRooms({ server: "cn.localhost", filter });
    assert.deepEqual([chunk.length, count], [1, 1]);
    assert.deepEqual([chunk[0].room_id, chunk[0].canonical_alias, chunk[0].topic], [room, alias, "persimmons"]);
    await bob.joinRoom(alias);
    await until(bob, () => bob.getRoom(room)?.getCanonicalAlias() === alias, "the alias");

    const other = `#${name}:eu.localhost`;
    await bob.createAlias(other, room);
    assert.deepEqual(await bob.getLocalAliases(room), { aliases: [other] });
    await bob.deleteAlias(other);
    await assert.rejects(alice.getRoomIdForAlias(other), { errcode: "M_NOT_FOUND" });
    await alice.setRoomDirectoryVisibility(room, "private");
    assert.deepEqual(await bob.getRoomDirectoryVisibility(room), { visibility: "private" });
    assert.deepEqual((await bob.publicRooms({ filter })).chunk, []);
});

test("leaving, forgetting, signing out", async () => {
    const [alice, bob] = await Promise.all(["cn", "eu"].map(person));
    const { room_id: room } = await alice.createRoom({ preset: "public_chat" });
    await bob.joinRoom(room);
    await until(bob, () => membership(bob, room) === "join", "having joined");
    await bob.leave(room);
    await until(bob, () => membership(bob, room) === "leave", "having left");
    await bob.forget(room);
    assert.equal(bob.getRoom(room), null);
    await assert.rejects(bob.sendTextMessage(room, "still here?"));
    bob.stopClient();
    await bob.logout();
    await assert.rejects(bob.whoami(), (error) => error.errcode === "M_UNKNOWN_TOKEN");
});

test("a thread is shown by its root, with its last event and its count", async () => {
    const [alice, carol] = await Promise.all(["cn", "ru"].map(person));
    const { room_id: room } = await alice.createRoom({ preset: "public_chat" });
    const { event_id: root } = await alice.sendTextMessage(room, "tea?");
    await carol.joinRoom(room);
    const reply = (client, body) => client.sendMessage(room, {
        msgtype: "m.text",
        body,
        "m.relates_to": { rel_type: "m.thread", event_id: root },
    });
    await reply(carol, "green");
    const { event_id: last } = await reply(alice, "black");
    await until(carol, () => membership(carol, room) === "join", "having joined");
    const bundled = async (client) => (await client.fetchRoomEvent(room, root)).unsigned["m.relations"]["m.thread"];
    for (const client of [alice, carol]) {
        const thread = await bundled(client);
        assert.deepEqual([thread.count, thread.latest_event.event_id], [2, last]);
        const { events } = await client.relations(room, root, "m.thread", "m.room.message");
        assert.deepEqual(events.map((event) => event.getContent().body), ["black", "green"]);
        const { chunk } = await client.createThreadListMessagesRequest(room, null, 10);
        assert.deepEqual(chunk.map((event) => event.event_id), [root]);
    }
});
