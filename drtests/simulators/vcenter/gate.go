package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"net/http"
	"regexp"
	"strings"
)

const biggestCall = 64 << 20

// Methods after which nothing needs to be recorded.
var reads = regexp.MustCompile(`^(Retrieve|ContinueRetrieve|WaitFor|Fetch|Query|Find|Has|Search|Login|Logout|CurrentTime|CreateContainerView|Destroy(View|PropertyFilter))`)

// Stands before govmomi's handlers: counts calls, makes planned faults, ends idle sessions.
type gate struct {
	center *vcenter
	routes *http.ServeMux
}

func newGate(center *vcenter) *gate {
	service, registry := center.service, center.service.Context.Map
	service.RegisterSDK(registry, registry.Path+"/vimService")
	routes := service.ServeMux
	routes.HandleFunc(registry.Path+"/vimServiceVersions.xml", service.ServiceVersions)
	one := &gate{center: center, routes: routes}
	routes.HandleFunc("/folder/", one.files)
	routes.HandleFunc("POST /_mainstay/faults", one.plan)
	routes.HandleFunc("DELETE /_mainstay/faults", one.noFaults)
	routes.HandleFunc("DELETE /_mainstay/calls", one.noCalls)
	routes.HandleFunc("POST /_mainstay/reset", one.reset)
	routes.HandleFunc("GET /_mainstay/calls", one.calls)
	routes.HandleFunc("GET /_mainstay/sessions", one.sessions)
	routes.HandleFunc("GET /_mainstay/privileges", one.privileges)
	return one
}

func (one *gate) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodPost || !strings.HasPrefix(request.URL.Path, "/sdk") {
		one.routes.ServeHTTP(answer, request)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(answer, request.Body, biggestCall))
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	method := calledMethod(body)
	one.center.plans.count(method)
	one.center.endIdleSessions()
	planned, found := one.center.plans.take(method, atTheCall)
	if found {
		log.Printf("planned: %s at %s", planned.Mode, method)
		answer = planned.spoil(answer)
	}
	if answer == nil {
		return
	}
	one.routes.ServeHTTP(answer, request)
	if !reads.MatchString(method) {
		one.center.records.touch()
	}
	if planned.Mode == modeLost {
		panic(http.ErrAbortHandler)
	}
}

// Does what a rule plans for before the call; gives who is to get its answer, nobody if there is none.
func (one rule) spoil(answer http.ResponseWriter) http.ResponseWriter {
	switch one.Mode {
	case modeDrop:
		panic(http.ErrAbortHandler) // ends the connection, and nothing else
	case mode503:
		http.Error(answer, "upstream connect error", http.StatusServiceUnavailable)
	case modeLogin:
		writeFault(answer, "NotAuthenticated")
	case modeFault:
		writeFault(answer, one.Fault)
	case modeDelay:
		one.wait()
		return answer
	case modeLost:
		return &nobody{header: http.Header{}}
	}
	return nil
}

// Reads an answer that never arrives.
type nobody struct{ header http.Header }

func (one *nobody) Header() http.Header               { return one.header }
func (one *nobody) Write(content []byte) (int, error) { return len(content), nil }
func (one *nobody) WriteHeader(int)                   {}

func writeFault(answer http.ResponseWriter, name string) {
	const form = xml.Header + `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"` +
		` xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><soapenv:Fault>` +
		`<faultcode>ServerFaultCode</faultcode><faultstring>planned: %[1]s</faultstring>` +
		`<detail><%[1]sFault xmlns="urn:vim25" xsi:type="%[1]s"/></detail>` +
		`</soapenv:Fault></soapenv:Body></soapenv:Envelope>`
	answer.Header().Set("Content-Type", "text/xml; charset=utf-8")
	answer.WriteHeader(http.StatusInternalServerError)
	_, _ = fmt.Fprintf(answer, form, name)
}

// Names the method of a SOAP call: the first element of its body.
func calledMethod(body []byte) string {
	reader := xml.NewDecoder(bytes.NewReader(body))
	inside := false
	for {
		token, err := reader.Token()
		if err != nil {
			return ""
		}
		if start, ok := token.(xml.StartElement); ok {
			if inside {
				return start.Name.Local
			}
			inside = start.Name.Local == "Body"
		}
	}
}

// --- files, and what tests ask --------------------------------------------------------------------

// Serves files of datastores to who is logged in; govmomi's simulator asks nobody.
func (one *gate) files(answer http.ResponseWriter, request *http.Request) {
	cookie, err := request.Cookie("vmware_soap_session")
	if err != nil || !one.center.isOpen(strings.Trim(cookie.Value, `"`)) {
		http.Error(answer, "log in first", http.StatusUnauthorized)
		return
	}
	one.center.service.ServeDatastore(answer, request)
}

func (one *gate) plan(answer http.ResponseWriter, request *http.Request) {
	var rules []rule
	body, err := io.ReadAll(http.MaxBytesReader(answer, request.Body, biggestCall))
	if err == nil {
		if body = bytes.TrimSpace(body); !bytes.HasPrefix(body, []byte("[")) {
			body = fmt.Appendf(nil, "[%s]", body)
		}
		err = json.Unmarshal(body, &rules)
	}
	for number := range rules {
		rules[number].Times = max(rules[number].Times, 1)
	}
	if err == nil {
		err = one.center.plans.add(rules)
	}
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(answer, map[string]int{"planned": len(rules)})
}

func (one *gate) noFaults(answer http.ResponseWriter, _ *http.Request) {
	one.center.plans.noFaults()
	writeJSON(answer, map[string]int{})
}

func (one *gate) noCalls(answer http.ResponseWriter, _ *http.Request) {
	one.center.plans.noCalls()
	writeJSON(answer, map[string]int{})
}

func (one *gate) reset(answer http.ResponseWriter, _ *http.Request) {
	one.center.plans.noFaults()
	one.center.plans.noCalls()
	writeJSON(answer, map[string]int{})
}

func (one *gate) calls(answer http.ResponseWriter, _ *http.Request) {
	writeJSON(answer, one.center.plans.counted())
}

func (one *gate) sessions(answer http.ResponseWriter, _ *http.Request) {
	one.center.endIdleSessions()
	writeJSON(answer, map[string]int{"open": len(one.center.openSessions())})
}

func (one *gate) privileges(answer http.ResponseWriter, _ *http.Request) {
	writeJSON(answer, one.center.asked.take())
}

func writeJSON(answer http.ResponseWriter, value any) {
	answer.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(answer).Encode(value)
}
