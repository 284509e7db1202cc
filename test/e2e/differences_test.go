package e2e

// A difference is what our daemon does in another way than a native one.
type difference struct {
	says      []string // instead of what native has answered; see summary
	otherwise bool     // our daemon closes the connection and native does not, or the other way round
}

// says returns a difference in the answers.
func says(answers ...string) difference { return difference{says: answers} }

// differences are those on purpose.
var differences = map[string]difference{
	// 2.7.2 closes the connection on what 2.5.0 understands. Our daemon understands both.
	"2.7.2/B-raw/0149":    says(`info-3: :tb (32 MB, 1 CPUs, boot "")`),
	"2.7.2/B-raw/0150":    says(`info-2: :tb (32 MB, 1 CPUs, boot "")`),
	"2.7.2/B-raw/0151":    says("configs: :tb (hello: false)"),
	"2.7.2/B-raw/0152":    says("get: no unikernel found"),
	"2.7.2/B-raw/0153":    says("get: no unikernel found"),
	"2.7.2/B-raw/0154":    says("destroy: not found"),
	"2.7.2/B-raw/0155":    says(rootPolicy),
	"2.7.2/B-raw/0156":    says(rootPolicy),
	"2.5.0/L-raw250/0146": says("info-5:"),
	"2.5.0/L-raw250/0147": says("info-6:"),
	"2.7.2/B-raw/0260":    {says: []string{"opening"}, otherwise: true},
	"2.5.0/L-raw250/0148": says("consoles: :two :one :a.three"),
	"2.5.0/L-raw250/0149": {says: []string{"opening"}, otherwise: true},

	// An announcement of 2 GB is refused, and not waited for.
	"2.7.2/B-raw/0160": {otherwise: true},

	// A command that native accepts and cannot carry out, or that ends native, is refused.
	"2.7.2/B-raw/0188": says("cannot run without a CPU: give one at least"),
	"2.7.2/B-raw/0189": says(`info-4: :c5 (16 MB, 1 CPUs, boot "")`),
	"2.7.2/B-raw/0202": says("cannot compress at level -1: 0 to 9 are possible"),
	"2.7.2/B-raw/0203": says("cannot compress at level 10: 0 to 9 are possible"),
	"2.7.2/B-raw/0206": says("cannot compress at level 99: 0 to 9 are possible"),

	// A policy that nothing could run with is refused.
	"2.7.2/B-raw/0172": {says: []string{"Unusable policy with no unikernels"}, otherwise: true},
	"2.7.2/B-raw/0175": says("Unusable policy with no unikernels"),
	"2.7.2/B-raw/0177": says("policies: : r: q: p:"),
	"2.7.2/B-raw/0178": says("unknown policy"),
	"2.7.2/B-raw/0181": says("Unusable policy with memory 10 MB <= 16 MB"),

	// The policy of the root is what the machine has.
	"2.7.2/B-raw/0183": says("cannot remove the policy of the root: it is what this machine has"),

	// A restart takes over all arguments; native leaves memory, CPUs and the boot
	// partition as they were.
	"2.7.2/B-raw/0198": says(`info-6: :c4 (99 MB, 7 CPUs, boot "boot")`),

	// Errors are described more clearly.
	"2.7.2/B-raw/0212": says("interface x does not exist"),
	"2.7.2/B-raw/0213": says("cannot read image: truncated: shorter than an ELF header"),
	"2.7.2/B-raw/0214": says("cannot create a unikernel: its image is empty"),
	"2.7.2/B-raw/0215": says("cannot read image: truncated: name of interpreter is outside the file (24 bytes at 4096 of 3880)"),
	"2.7.2/B-raw/0217": says("cannot decompress image: zlib: invalid header"),
	"2.7.2/B-raw/0218": says("cannot decompress image: unexpected EOF"),
	"2.7.2/B-raw/0221": says("cannot run a bhyve unikernel: this host runs solo5 only"),
	"2.7.2/B-raw/0229": says(`cannot pass argument 1: it contains a zero byte`),

	"2.7.2/B-raw/0236": says("cannot create block device :rb5: cannot decompress contents: zlib: invalid header"),
	"2.7.2/B-raw/0240": says("cannot set block device :rb1: cannot decompress contents: zlib: invalid header"),
	"2.7.2/B-raw/0251": says("cannot set block device :rb: cannot decompress contents: zlib: invalid header"),

	// Another library compresses to other bytes, and other chunks.
	"2.7.2/B-raw/0244": says("dump, compressed: true", `contents: 5000 times 'z', 1043576 times '\x00'`, "contents: "),

	// The first of two commands is answered, whatever follows it.
	"2.7.2/B-raw/0171":    says("policy above allows 2 unikernels, which is fewer than 9"),
	"2.7.2/B-raw/0225":    says("destroyed unikernel"),
	"2.7.2/B-raw/0253":    says("set block: not found"),
	"2.5.0/L-raw250/0106": says("policy above allows 1 unikernels, which is fewer than 3"),
	"2.5.0/L-raw250/0144": says("policy above allows 1 unikernels, which is fewer than 3"),

	// A unikernel that has been destroyed does not exist: native sometimes sees it between two
	// starts.
	"2.7.2/B-raw/0228": says("destroy: not found"),

	// A native daemon that adds a console does not lose its connection by adding one of a path, and
	// loses no line to two readers of one FIFO.
	"2.7.2/B-raw/0259": {says: []string{"path used instead of name"}, otherwise: true},
	"2.7.2/B-raw/0269": says("cannot read the console: this daemon runs a unikernel of that name"),

	// Other unikernels have ended than with native.
	"2.7.2/B-raw/0264": says("consoles: :tb :m10 :f1 :e :c5 :c4 :c3"),

	// The native console closes the connection on what is for another socket, and
	// on old subscriptions.
	"2.7.2/B-raw/0263": {says: []string{"subscribed", "line, old form: true", "line, old form: true"}, otherwise: true},
	"2.7.2/B-raw/0266": says("unknown command"),

	// Native ends with an error here.
	"2.7.2/B-raw/0276": {says: []string{"cannot add x:m: something is watched under this name already"}, otherwise: true},

	// The policies are those of another machine. In versions 3 and 4 the name of the root cannot be
	// decoded, natively either.
	"2.5.0/L-raw250/0069": says(rootPolicy),
	"2.5.0/L-raw250/0107": says(rootPolicy),

	// The answer has the image of our own unikernel.
	"2.5.0/L-raw250/0087": says("configs: :one (hello: true)"),
	"2.5.0/L-raw250/0125": says("configs: :one (hello: true)"),

	// There are as many lines as have been printed.
	"2.5.0/L-raw250/0096": says("subscribed", "line, old form: true"),
	"2.5.0/L-raw250/0134": says("subscribed", "line, old form: true"),

	// The text is that of 2.7.2.
	"2.5.0/L-raw250/0103": says("destroyed unikernel"),
	"2.5.0/L-raw250/0104": says("destroyed unikernel"),
	"2.5.0/L-raw250/0105": says("destroyed unikernel"),
	"2.5.0/L-raw250/0141": says("destroyed unikernel"),
	"2.5.0/L-raw250/0142": says("destroyed unikernel"),
	"2.5.0/L-raw250/0143": says("destroyed unikernel"),
}

const rootPolicy = "cannot decode message: message: payload: success: policies: policy: name: empty name"

// notYet returns the reason why a conversation is not possible with this daemon.
func notYet(step string) string {
	for _, l := range leftOut {
		if l.from <= step && step <= l.to {
			return l.why
		}
	}
	return ""
}

// leftOut are conversations that need something that this daemon does not do yet, or does not have.
var leftOut = []struct{ from, to, why string }{
	{"2.7.2/B-raw/0216", "2.7.2/B-raw/0216", "there is no image for virtio"},
}
