import { setPrefs, usePrefs } from "../prefs";
import { Modal } from "../ui/modal";
import { Segmented } from "../ui/parts";

const KEYS: readonly [string[], string][] = [
  [["/"], "Search and filter"],
  [["1", "2", "3"], "API, Webhook, Errors"],
  [["j", "k"], "Next and previous row"],
  [["Enter"], "Open the row"],
  [["x"], "Select the row"],
  [["[", "]"], "Previous and next log while one is open"],
  [["Esc"], "Close; focus goes back to the row"],
  [["r"], "Resend, or edit and replay, the open log"],
  [["l"], "Live tail on or off"],
  [["n"], "Show new rows"],
  [["?"], "This sheet"],
];

export default function ShortcutSheet({ close }: { close: () => void }) {
  const { keys, dense, scheme } = usePrefs();
  return (
    <Modal opened onClose={close} title="Keyboard and display" size="lg"
      closeButtonProps={{ "aria-label": "Close" }}>
      <div style={{ display: "flex", flexDirection: "column", gap: 16 }}>
        <table className="plain">
          <tbody>
            {KEYS.map(([k, what]) => (
              <tr key={what}>
                <td style={{ width: 130 }}>{k.map((x) => <kbd key={x} style={{ marginRight: 4 }}>{x}</kbd>)}</td>
                <td>{what}</td>
              </tr>))}
          </tbody>
        </table>
        <label className="row">
          <input type="checkbox" checked={keys}
            onChange={(e) => setPrefs({ keys: e.currentTarget.checked })} />
          Single-key shortcuts
        </label>
        <div className="row wrap">
          <span>Rows</span>
          <Segmented label="Row height" value={dense ? "dense" : "comfortable"}
            options={[{ value: "dense", label: "Dense" }, { value: "comfortable", label: "Comfortable" }]}
            onChange={(v) => setPrefs({ dense: v === "dense" })} />
          <span style={{ marginLeft: 12 }}>Theme</span>
          <Segmented label="Theme" value={scheme}
            options={[{ value: "auto", label: "System" }, { value: "light", label: "Light" },
              { value: "dark", label: "Dark" }]}
            onChange={(v) => setPrefs({ scheme: v })} />
        </div>
      </div>
    </Modal>
  );
}
