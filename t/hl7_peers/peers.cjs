// HL7 receivers by two npm packages: peers.cjs MODULES KIND PORT.  Each message
// as a line of JSON on stdout: [control id, family, text of the last segment].
'use strict';

const { createRequire } = require('module');

const [modules, kind, port] = process.argv.slice(2);
const load = createRequire(modules + '/');
const tell = (list) => console.log(JSON.stringify(list));

function medplum(enhanced) {
    const { Hl7Server } = load('@medplum/hl7');
    const server = new Hl7Server((connection) => {
        connection.addEventListener('message', ({ message }) => {
            tell([message.getSegment('MSH').getComponent(10, 1),
                message.getSegment('PID').getComponent(5, 1),
                message.getSegment('OBX').getField(5).toString()]);
            connection.send(message.buildAck());
        });
    });
    server.start(Number(port), 'utf-8', enhanced).then(() => tell('up'));
}

function nodeHl7() {
    const { Server } = load('node-hl7-server');
    const inbound = new Server({ bindAddress: '127.0.0.1' })
        .createInbound({ port: Number(port) }, async (req, res) => {
            const message = req.getMessage();
            const parts = message.toString().split('\r').filter((s) => s);
            tell([message.get('MSH.10').toString(),
                message.get('PID.5.1').toString(),
                parts[parts.length - 1].split('|')[5]]);
            await res.sendResponse('AA');
        });
    inbound.on('listen', () => tell('up'));
}

({ medplum: () => medplum(false), twophase: () => medplum(true),
    node: nodeHl7 })[kind]();
