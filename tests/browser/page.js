// Hydrogen, as its own guide embeds it: signs in, shows one room's timeline, sends.

import {
    Client, createNavigation, createRouter, FeatureSet, LoadStatus, Platform, RoomViewModel, TimelineView,
    viewClassForTile,
} from "hydrogen-view-sdk";

const olm = { wasm: "/olm/olm.wasm", legacyBundle: "/olm/olm_legacy.js", wasmBundle: "/olm/olm.js" };
const assetPaths = {
    downloadSandbox: "/assets/download-sandbox.html", worker: "/assets/main.js", olm, serviceWorker: "/sw.js",
};

window.signIn = async ({ server, user, password, roomId }) => {
    const container = document.querySelector("#app");
    const platform = new Platform({ container, assetPaths, config: {}, options: { development: false } });
    const navigation = createNavigation();
    platform.setNavigation(navigation);
    await platform.init();
    const urlRouter = createRouter({ navigation, history: platform.history });
    urlRouter.attach();

    const client = new Client(platform);
    client.startWithLogin((await client.queryLogin(server).result).password(user, password));
    const ends = [LoadStatus.Ready, LoadStatus.Error, LoadStatus.LoginFailed];
    await client.loadStatus.waitFor((status) => ends.includes(status)).promise;
    if (client.loginFailure || client.loadError) throw client.loadError ?? new Error(client.loginFailure);

    const { session } = client;
    const room = session.rooms.get(roomId);
    const features = await FeatureSet.load(platform.settingsStorage);
    const model = new RoomViewModel({ room, ownUserId: session.userId, platform, urlRouter, navigation, features });
    await model.load();
    container.append(new TimelineView(model.timelineViewModel, viewClassForTile).mount());
    window.say = (text) => model.composerViewModel.sendMessage(text);
};
