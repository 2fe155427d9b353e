// Reads cases as lines of JSON and answers each with what text/template makes of it: what our own
// engine is compared with.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"sigs.k8s.io/yaml"
)

type request struct {
	// "external-secrets", "vault-secrets" or "key-values".
	Kind     string                     `json:"kind"`
	Template string                     `json:"template"`
	Texts    map[string]string          `json:"texts"`
	Fields   map[string]json.RawMessage `json:"fields"`
}

type answer struct {
	Output []byte `json:"output"`
	Error  string `json:"error"`
}

// What the input of Vault Secrets' templates is.
type fields struct {
	Secrets, Metadata, Annotations, Labels map[string]any
}

func decode(raw json.RawMessage) map[string]any {
	if raw == nil {
		return map[string]any{}
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var into map[string]any
	if err := decoder.Decode(&into); err != nil {
		panic(err)
	}
	return into
}

func functions() template.FuncMap {
	all := sprig.TxtFuncMap()
	all["toYaml"] = func(v any) string {
		data, err := yaml.Marshal(v)
		if err != nil {
			return ""
		}
		return strings.TrimSuffix(string(data), "\n")
	}
	all["fromYaml"] = func(text string) map[string]any {
		into := map[string]any{}
		if err := yaml.Unmarshal([]byte(text), &into); err != nil {
			into["Error"] = "error converting YAML to JSON"
		}
		return into
	}
	all["hexdec"] = func(text string) string {
		data, err := hex.DecodeString(text)
		if err != nil {
			return err.Error()
		}
		return string(data)
	}
	return all
}

func run(it request) (output []byte, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	if it.Kind == "key-values" {
		into := map[string]string{}
		if err := yaml.Unmarshal([]byte(it.Template), &into); err != nil {
			return nil, err
		}
		return json.Marshal(into)
	}
	missing := "missingkey=error"
	var input any = it.Texts
	if it.Kind == "vault-secrets" {
		missing = "missingkey=default"
		input = fields{decode(it.Fields["Secrets"]), decode(it.Fields["Metadata"]), decode(it.Fields["Annotations"]), decode(it.Fields["Labels"])}
	}
	parsed, err := template.New("it").Option(missing).Funcs(functions()).Parse(it.Template)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = parsed.Execute(&out, input)
	return out.Bytes(), err
}

func main() {
	if len(os.Args) > 1 {
		fmt.Println("go-template with sprig 3.3.0")
		return
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var it request
		if err := json.Unmarshal(lines.Bytes(), &it); err != nil {
			panic(err)
		}
		output, err := run(it)
		answered := answer{Output: output}
		if err != nil {
			answered = answer{Error: err.Error()}
		}
		if err := answers.Encode(answered); err != nil {
			panic(err)
		}
	}
}
