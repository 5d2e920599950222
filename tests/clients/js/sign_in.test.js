// A sign-in with encryption, as Element and Cinny begin one: the SDK's own code asks, and nothing that it is told
// surprises it.

import "./quiet.js";
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { asked, PASSWORD, register, until } from "./person.js";

const clients = [];
after(() => clients.forEach((client) => client.stopClient()));

const HANDLED = {
    "GET /_matrix/client/v3/room_keys/version": "M_NOT_FOUND",
    "GET /_matrix/client/unstable/org.matrix.msc4143/rtc/transports": "M_UNRECOGNIZED",
    "POST /_matrix/client/v3/register": undefined, // 401 with the flows
};

test("the SDK starts with its encryption, and cross-signing", async () => {
    const client = await register("cn", `${process.env.PREFIX}signer`, { encrypted: true });
    clients.push(client);
    const crypto = client.getCrypto();
    await crypto.bootstrapCrossSigning({
        authUploadDeviceSigningKeys: (upload) =>
            upload({ type: "m.login.password", identifier: { type: "m.id.user", user: client.getUserId() }, password: PASSWORD }),
    });
    await Promise.all([
        client.getCapabilities(), client.getMediaConfig(), client.getMediaConfig(true), client.getThirdpartyProtocols(),
        client.getDevices(), client.getPushers(), client.getPushRules(), client.getProfileInfo(client.getUserId()),
        client.setPresence({ presence: "online", status_msg: "hello" }), client.loginFlows(), client.whoami(),
    ]);
    await until(client, () => asked.some((each) => each.path.endsWith("/keys/signatures/upload")), "signed device keys");
    assert.equal(await crypto.getKeyBackupInfo(), null);
    const devices = await crypto.getUserDeviceInfo([client.getUserId()], true);
    const device = devices.get(client.getUserId()).get(client.getDeviceId());
    assert.equal(device.getIdentityKey(), (await crypto.getOwnDeviceKeys()).curve25519);
    const own = await client.downloadKeysForUsers([client.getUserId()]);
    const signatures = own.device_keys[client.getUserId()][client.getDeviceId()].signatures[client.getUserId()];
    const selfSigning = Object.keys(own.self_signing_keys[client.getUserId()].keys)[0];
    assert.deepEqual(Object.keys(signatures).sort(), [`ed25519:${client.getDeviceId()}`, selfSigning].sort());

    const refused = asked.filter((each) => each.status >= 400);
    for (const each of refused) {
        const line = `${each.method} ${each.path}`;
        assert.ok(line in HANDLED, `${line} was answered ${each.status} ${JSON.stringify(each.body)}`);
        assert.equal(each.body.errcode, HANDLED[line]);
    }
    for (const path of ["keys/upload", "keys/query", "keys/device_signing/upload", "keys/signatures/upload"])
        assert.ok(asked.some((each) => each.status === 200 && each.path === `/_matrix/client/v3/${path}`), path);
});
