// The WebSocket /stream as the page sees it: options and pictures out, answers in. docs/stream.md is the protocol.

/**
 * @typedef {{target?: string, smoothing?: boolean, paste_back?: boolean, convert?: boolean, label?: string,
 *   face?: number}} Options
 * @typedef {{frame: number, state: "face" | "no-face" | "refused", dropped: number, total_ms: number,
 *   neutral: "watched" | "taking" | "given",
 *   timings_ms: Record<string, number>, reason?: string, width?: number, height?: number}} Header
 * @typedef {{header: Header, picture: Blob | null, delay: number}} Answer `delay`: milliseconds since it was sent
 */

const MOST_IN_FLIGHT = 2;
// How a connection ends that a later one may replace: the service went, was lost, is busy, or heard nothing for long.
const PASSING = [1001, 1005, 1006, 1011, 1012, 1013, 4408, 4503];

/** One connection. What it was ended by is told once, in words; nothing where the page ended it itself. */
export class FaceStream {
  /**
   * @param {Options} options
   * @param {(answer: Answer) => void} onAnswer
   * @param {(words: string, passing: boolean) => void} onEnd `passing`: another try may do
   */
  constructor(options, onAnswer, onEnd) {
    const address = new URL("stream", document.baseURI);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    this.onAnswer = onAnswer;
    this.ready = false;
    this.closing = false;
    /** @type {Map<number, number>} */
    this.sent = new Map(); // frame number -> when; frames up to an answer's number are answered or dropped
    this.count = 0;
    let problem = "";
    this.socket.onopen = () => this.setOptions(options);
    this.socket.onmessage = (event) => {
      if (typeof event.data === "string") {
        const message = JSON.parse(event.data);
        this.ready = true;
        if (message.detail) problem = `${message.title}. ${message.detail} ${message.expected ?? ""}`;
      } else {
        this.take(event.data);
      }
    };
    this.socket.onclose = (event) => {
      const words = problem || event.reason || "The service ended the stream, or does not answer. Is it running?";
      if (!this.closing) onEnd(words, PASSING.includes(event.code));
    };
  }

  /** @param {Options} options */
  setOptions(options) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(options));
  }

  /** Who drives looks neutral now. */
  takeNeutral() {
    if (this.ready && this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ neutral: "take" }));
  }

  /** Whether a frame that is sent now will be worked on soon: else it is better not taken at all. */
  get hungry() {
    return this.ready && this.socket.readyState === WebSocket.OPEN && this.sent.size < MOST_IN_FLIGHT;
  }

  /** @param {ArrayBuffer} picture */
  send(picture) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    this.count += 1;
    this.sent.set(this.count, performance.now());
    this.socket.send(picture);
  }

  close() {
    this.closing = true;
    this.socket.close();
  }

  /** @param {ArrayBuffer} message */
  take(message) {
    const length = new DataView(message).getUint32(0);
    /** @type {Header} */
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length)));
    const started = this.sent.get(header.frame) ?? performance.now();
    for (const number of this.sent.keys()) if (number <= header.frame) this.sent.delete(number);
    const picture = message.byteLength > 4 + length ? new Blob([message.slice(4 + length)], { type: "image/jpeg" }) : null;
    this.onAnswer({ header, picture, delay: performance.now() - started });
  }
}
