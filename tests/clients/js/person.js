// A person with matrix-js-sdk: signed in, syncing, able to wait for what they should see.

import "./quiet.js";
import { appendFileSync } from "node:fs";
import { ClientEvent, createClient, MatrixEventEvent, RoomEvent, RoomMemberEvent } from "matrix-js-sdk";

const DEADLINE_MS = 15_000;
export const PASSWORD = "a lane that joins courtyards";

/** Every answer so far: method, path, status, body. */
export const asked = [];

/** `fetch`, which also writes every answer down for the check against the specification. */
async function recordingFetch(resource, options = {}) {
    const response = await fetch(resource, options);
    const text = await response.clone().text();
    const isJson = response.headers.get("content-type")?.startsWith("application/json");
    const line = {
        method: options.method ?? "GET",
        path: new URL(resource).pathname,
        status: response.status,
        body: isJson && text ? JSON.parse(text) : null,
    };
    asked.push(line);
    if (process.env.ANSWERS) appendFileSync(process.env.ANSWERS, JSON.stringify(line) + "\n");
    return response;
}

const url = (region) => process.env[`URL_${region.toUpperCase()}`];

/** Registers in a region as an application does: ask what is wanted, then do it. */
export async function register(region, name, options = {}) {
    const stranger = createClient({ baseUrl: url(region), fetchFn: recordingFetch });
    const body = { username: name, password: PASSWORD };
    const asked = await stranger.registerRequest(body).then(
        () => { throw new Error("registered without being asked anything"); },
        (error) => error.data,
    );
    const session = asked.session;
    return signedIn(region, await stranger.registerRequest({ ...body, auth: { type: "m.login.dummy", session } }), options);
}

export async function login(region, userId) {
    const stranger = createClient({ baseUrl: url(region), fetchFn: recordingFetch });
    const identifier = { type: "m.id.user", user: userId };
    return signedIn(region, await stranger.loginRequest({ type: "m.login.password", identifier, password: PASSWORD }));
}

async function signedIn(region, told, { encrypted = false } = {}) {
    const client = createClient({
        baseUrl: url(region),
        fetchFn: recordingFetch,
        accessToken: told.access_token,
        userId: told.user_id,
        deviceId: told.device_id,
        timelineSupport: true,
    });
    if (encrypted) await client.initRustCrypto({ useIndexedDB: false });
    await client.startClient({ initialSyncLimit: 10, lazyLoadMembers: true, pollTimeout: 5_000 });
    await until(client, () => client.isInitialSyncComplete(), "the first sync");
    return client;
}

/** Resolves once `condition` holds; it is tried again at whatever the client tells. */
export function until(client, condition, what) {
    const events = [
        ClientEvent.Sync, ClientEvent.Room, RoomEvent.Timeline, RoomEvent.MyMembership, RoomEvent.Redaction,
        RoomEvent.LocalEchoUpdated, RoomEvent.Receipt, RoomMemberEvent.Typing, MatrixEventEvent.Replaced,
    ];
    return new Promise((resolve, reject) => {
        const stop = () => {
            clearTimeout(timer);
            for (const event of events) client.off(event, attempt);
        };
        const attempt = () => {
            const found = condition();
            if (found) {
                stop();
                resolve(found);
            }
        };
        const timer = setTimeout(() => {
            stop();
            reject(new Error(`${client.getUserId()} waited ${DEADLINE_MS} ms for ${what}`));
        }, DEADLINE_MS);
        for (const event of events) client.on(event, attempt);
        attempt();
    });
}

export const timeline = (client, roomId) => client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];

/** The event as the client holds it, once `/sync` has brought it. */
export const sees = (client, roomId, eventId) =>
    until(
        client,
        () => timeline(client, roomId).find((event) => event.getId() === eventId && event.status === null),
        `${eventId} in ${roomId}`,
    );
